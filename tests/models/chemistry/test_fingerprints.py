"""Bits, bytes and similarities."""

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from models.chemistry import fingerprints
from models.chemistry.fingerprints import fingerprint, pack, tanimoto, unpack
from models.chemistry.structures import StructureError

SMILES = ["CCO", "CCN", "c1ccccc1O", "CC(=O)Oc1ccccc1C(=O)O", "N.N.[Cl-].[Cl-].[Pt+2]"]


def test_shape_type_and_version():
    bits = fingerprint("CCO")
    assert bits.shape == (2048,)
    assert bits.dtype == np.uint8
    assert set(np.unique(bits)) == {0, 1}
    assert fingerprints.RDKIT_VERSION in fingerprints.FEATURE_VERSION


def test_chirality_counts():
    left, right = fingerprint("C[C@H](N)C(=O)O"), fingerprint("C[C@@H](N)C(=O)O")
    assert not np.array_equal(left, right)


@pytest.mark.parametrize("smiles", ["", "not a smiles"])
def test_only_parents(smiles, capfd):
    with pytest.raises(StructureError):
        fingerprint(smiles)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("smiles", SMILES)
def test_packing_round_trip(smiles):
    bits = fingerprint(smiles)
    packed = pack(bits)
    assert len(packed) == 256
    np.testing.assert_array_equal(unpack(packed), bits)


def test_packing_refuses_other_shapes():
    with pytest.raises(ValueError, match="shape"):
        pack(np.zeros(2047, np.uint8))
    with pytest.raises(ValueError, match="only 0 and 1"):
        pack(np.full(2048, 2, np.uint8))
    with pytest.raises(ValueError, match="256 bytes"):
        unpack(b"\0" * 255)


def test_tanimoto_agrees_with_rdkit():
    generator = rdFingerprintGenerator.GetMorganGenerator(
        radius=2, fpSize=2048, includeChirality=True
    )
    theirs = [generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in SMILES]
    ours = np.stack([fingerprint(s) for s in SMILES])
    expected = [[DataStructs.TanimotoSimilarity(a, b) for b in theirs[:2]] for a in theirs]
    got = tanimoto(ours, ours[:2])
    assert got.shape == (5, 2)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-15)


def test_tanimoto_without_structure_is_zero():
    bits = np.stack([fingerprint("CCO"), np.zeros(2048, np.uint8)])
    np.testing.assert_array_equal(tanimoto(bits, bits), [[1.0, 0.0], [0.0, 0.0]])


def test_tanimoto_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(n, bits\)"):
        tanimoto(np.zeros(8, np.uint8), np.zeros((2, 8), np.uint8))
    with pytest.raises(ValueError, match=r"\(n, bits\)"):
        tanimoto(np.zeros((2, 4), np.uint8), np.zeros((2, 8), np.uint8))
