"""Known answers of chemical identity. Keys were checked against the public records."""

import csv
import os
from pathlib import Path

import pytest

from models.chemistry.structures import StructureError, standardise

DATA = Path(os.environ.get("NEXTROUND_DATA", Path(__file__).parents[4] / "shared" / "data"))
IMATINIB = "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1"
VALPROATE = "CCCC(CCC)C(=O)[O-]"
PAMOIC = "OC(=O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O"


@pytest.mark.parametrize(
    "smiles",
    [
        "N.N.Cl[Pt]Cl",
        "[NH3][Pt]([NH3])(Cl)Cl",
        "[NH3+][Pt-2]([NH3+])(Cl)Cl",
        "N.N.[Cl-].[Cl-].[Pt+2]",
        "N->[Pt](<-N)(Cl)Cl",
    ],
)
def test_cisplatin_is_kept_whole_in_every_spelling(smiles):
    cisplatin = standardise(smiles)
    assert cisplatin.inchikey == "LXZZYRPGZAFOLE-UHFFFAOYSA-L"
    assert cisplatin.parent_weight == pytest.approx(300.05, abs=0.01)
    assert not cisplatin.is_salt
    assert cisplatin.note == "kept whole: contains Pt"


@pytest.mark.parametrize(
    ("smiles", "inchikey", "formula"),
    [
        ("[Li]Cl", "KWGKDLIKAYFUFQ-UHFFFAOYSA-M", "ClLi"),
        ("[Li+].[Cl-]", "KWGKDLIKAYFUFQ-UHFFFAOYSA-M", "ClLi"),
        ("[Li+].[Li+].[O-]C([O-])=O", "XGZVUEUWXADBQD-UHFFFAOYSA-L", "CLi2O3"),
        ("O=[As]O[As]=O", "IKWTVSLWAPBBKU-UHFFFAOYSA-N", "As2O3"),
        (
            "[O-]C(=O)C([O-])=O.[Pt+2].N[C@@H]1CCCC[C@H]1N",
            "ZROHGHOFXNOHSO-BNTLRKBRSA-L",
            "C8H14N2O4Pt",
        ),
        ("[Na+].[Cl-]", "FAPWRFPIFSIZLT-UHFFFAOYSA-M", "ClNa"),
        ("[Na+].OC([O-])=O", "UIIMBOGNXHQVGW-UHFFFAOYSA-M", "CHNaO3"),
    ],
)
def test_metals_and_inorganics_are_kept_whole(smiles, inchikey, formula):
    structure = standardise(smiles)
    assert (structure.inchikey, structure.formula) == (inchikey, formula)
    assert not structure.is_salt
    assert structure.note.startswith("kept whole")


@pytest.mark.parametrize(
    "acid", ["CS(=O)(=O)O", "Cl", "Br", "OS(=O)(=O)O", "O", PAMOIC, "F[P-](F)(F)(F)(F)F"]
)
def test_salts_and_hydrates_of_imatinib_are_imatinib(acid):
    salt, free = standardise(f"{IMATINIB}.{acid}"), standardise(IMATINIB)
    assert salt.inchikey == free.inchikey == "KTUFNOKKBVMGRW-UHFFFAOYSA-N"
    assert salt.parent_smiles == free.parent_smiles
    assert salt.is_salt
    assert not free.is_salt
    assert salt.substance_inchikey != free.substance_inchikey
    assert salt.registered_weight > salt.parent_weight == free.parent_weight
    assert "removed" in salt.note


def test_imatinib_mesylate_weights():
    mesylate = standardise(f"{IMATINIB}.CS(=O)(=O)O")
    assert mesylate.substance_inchikey == "YLMAHDNUQAMNNX-UHFFFAOYSA-N"
    assert mesylate.parent_weight == pytest.approx(493.61, abs=0.02)
    assert mesylate.registered_weight == pytest.approx(589.71, abs=0.02)


@pytest.mark.parametrize("smiles", [f"{VALPROATE}.[Na+]", "CCCC(CCC)C(=O)O[Na]", VALPROATE])
def test_sodium_valproate_is_valproic_acid(smiles):
    valproate = standardise(smiles)
    assert valproate.inchikey == "NIJJYAXOARWZEE-UHFFFAOYSA-N"
    assert valproate.parent_smiles == "CCCC(CCC)C(=O)O"
    assert valproate.parent_count == 1


def test_hemi_salts_count_their_parents():
    semisodium = standardise(f"{VALPROATE}.CCCC(CCC)C(=O)O.[Na+]")
    assert semisodium.inchikey == "NIJJYAXOARWZEE-UHFFFAOYSA-N"
    assert semisodium.parent_count == 2
    assert semisodium.removed == ("[Na+]",)


def test_methotrexate_disodium_is_methotrexate():
    acid = "CN(Cc1cnc2nc(N)nc(N)c2n1)c1ccc(cc1)C(=O)NC(CCC(O)=O)C(O)=O"
    salt = "[Na+].[Na+].CN(Cc1cnc2nc(N)nc(N)c2n1)c1ccc(cc1)C(=O)NC(CCC([O-])=O)C([O-])=O"
    assert standardise(salt).inchikey == standardise(acid).inchikey


def test_small_drug_beats_large_counter_ion():
    bitartrate = standardise("NCCS.OC(=O)[C@H](O)[C@@H](O)C(=O)O")
    assert bitartrate.parent_smiles == "NCCS"


def test_active_mixture_says_what_it_dropped():
    trimethoprim = "COc1cc(Cc2cnc(N)nc2N)cc(OC)c1OC"
    mixture = standardise(f"{trimethoprim}.Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1")
    assert mixture.inchikey == standardise(trimethoprim).inchikey
    assert "no known salt former" in mixture.note


def test_tautomers_share_a_key_but_not_features():
    hydroxy, pyridone = standardise("Oc1ccccn1"), standardise("O=c1cccc[nH]1")
    assert hydroxy.inchikey == pyridone.inchikey == "UBQKCCHYAOITMY-UHFFFAOYSA-N"
    assert hydroxy.parent_smiles != pyridone.parent_smiles


def test_thalidomide_enantiomers_share_only_their_skeleton():
    forms = ["[C@@H]", "[C@H]", "C"]
    keys = {standardise(f"O=C1CC{form}(N2C(=O)c3ccccc3C2=O)C(=O)N1").inchikey for form in forms}
    assert len(keys) == 3
    assert {key[:14] for key in keys} == {"UEJJHQNACJXSKW"}


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("*CC", "dummy atom"),
        ("[R1]CC", "syntax error near character 2"),
        ("C" * 1001, "1,001 heavy atoms"),
        ("C" * 10_001, "10,001 characters"),
        ("cetuximab", "syntax error near character 2"),
        ("CC(C)(C)(C)C", "valence for atom # 1 C, 5"),
        ("C1CC", "unclosed ring"),
        ("C–C", "'–'"),
        ("C\0C", "no SMILES has"),
        ("C~C", "InChIKey"),
        ("C>>C", "syntax error"),
    ],
)
def test_refusals_name_the_reason_and_stay_silent(smiles, reason, capfd):
    with pytest.raises(StructureError) as caught:
        standardise(smiles)
    assert reason in caught.value.reason
    assert len(caught.value.reason) < 300
    assert capfd.readouterr() == ("", "")


def test_text_behind_a_blank_is_a_name():
    assert standardise("CCO ethanol, absolute").name == "ethanol, absolute"
    assert standardise("CCO |&1:1| ethanol").name == "ethanol"
    assert standardise("CCO ethanol", name="EtOH").name == "EtOH"
    assert standardise("CCO").name is None


def test_registered_form_is_canonical_as_given():
    assert standardise("[Na+].[O-]C(=O)C(CCC)CCC").registered_smiles == f"{VALPROATE}.[Na+]"


@pytest.mark.parametrize(
    "smiles", [IMATINIB, f"{VALPROATE}.[Na+]", "N.N.Cl[Pt]Cl", "[Li]Cl", "C[N+](C)(C)CC.[Cl-]"]
)
def test_standardising_a_parent_changes_nothing(smiles):
    first = standardise(smiles)
    again = standardise(first.parent_smiles)
    assert (again.inchikey, again.parent_smiles) == (first.inchikey, first.parent_smiles)


@pytest.mark.data
def test_oneil_compounds_get_their_published_keys():
    path = DATA / "oneil" / "compounds.csv"
    if not path.exists():
        pytest.skip("NEXTROUND_DATA has no oneil/compounds.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 38
    for row in rows:
        structure = standardise(row["smiles"], row["drug"])
        # PD325901 has a flat SMILES beside the key of its R form: only the skeleton agrees.
        length = 14 if row["drug"] == "PD325901" else 27
        assert structure.inchikey[:length] == row["inchikey"][:length], row["drug"]
        # The file spells carboplatin and oxaliplatin as fragments: they are no salts.
        assert not structure.is_salt, row["drug"]
