"""POST /v1/compounds: one structure is one compound, one name leads to one compound."""

import pytest

from tests.lab import at_once, codes

IMATINIB = "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1"
MESYLATE = f"{IMATINIB}.CS(=O)(=O)O"
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def register(lab, *compounds):
    return lab.post("/v1/compounds", {"compounds": list(compounds)})


def registered(lab, *compounds):
    return lab.ok(register(lab, *compounds))


class TestIdentity:
    def test_a_new_structure(self, lab):
        answer = registered(lab, {"name": "Imatinib", "smiles": IMATINIB})
        assert (answer["created"], answer["existing"]) == (1, 0)
        compound = answer["items"][0]["compound"]
        assert compound["inchikey"] == "KTUFNOKKBVMGRW-UHFFFAOYSA-N"
        assert compound["formula"] == "C29H31N7O"
        assert compound["molecular_weight"] == pytest.approx(493.6, abs=0.1)
        assert compound["version"] == 1
        (form,) = compound["substances"]
        assert (form["is_salt"], form["parent_count"]) == (False, 1)
        assert lab.ok(lab.get(f"/v1/compounds/{compound['id']}")) == compound

    def test_a_salt_is_another_form_of_the_same_compound(self, lab):
        free = registered(lab, {"name": "Imatinib", "smiles": IMATINIB})["items"][0]
        salt = registered(lab, {"name": "Gleevec", "smiles": MESYLATE})["items"][0]
        assert (free["outcome"], salt["outcome"]) == ("created", "existing")
        compound = salt["compound"]
        assert compound["id"] == free["compound"]["id"]
        assert (compound["name"], compound["aliases"]) == ("Imatinib", ["Gleevec"])
        assert [form["is_salt"] for form in compound["substances"]] == [False, True]
        assert compound["substances"][1]["molecular_weight"] == pytest.approx(589.7, abs=0.1)

    def test_two_salts_of_one_compound_in_one_request(self, lab):
        answer = registered(
            lab,
            {"name": "Imatinib mesylate", "smiles": MESYLATE},
            {"name": "Imatinib HCl", "smiles": f"{IMATINIB}.Cl"},
        )
        assert [item["outcome"] for item in answer["items"]] == ["created", "existing"]
        first, second = (item["compound"] for item in answer["items"])
        assert first == second
        assert [form["name"] for form in first["substances"]] == [
            "Imatinib mesylate", "Imatinib HCl",
        ]  # fmt: skip

    def test_metals_stay_whole(self, lab):
        cisplatin, transplatin_like = registered(
            lab,
            {"name": "Cisplatin", "smiles": "N.N.Cl[Pt]Cl"},
            {"name": "Ammonia", "smiles": "N"},
        )["items"]
        assert cisplatin["compound"]["inchikey"] == "LXZZYRPGZAFOLE-UHFFFAOYSA-L"
        assert "Pt" in cisplatin["compound"]["substances"][0]["note"]
        assert transplatin_like["compound"]["id"] != cisplatin["compound"]["id"]

    def test_a_compound_without_a_structure(self, lab):
        compound = registered(lab, {"name": "Antibody 7"})["items"][0]["compound"]
        assert compound["inchikey"] is compound["smiles"] is compound["molecular_weight"] is None
        assert compound["substances"] == []

    def test_the_same_structure_under_two_names_leads_to_one_compound(self, lab):
        answer = registered(
            lab,
            {"name": "Aspirin", "smiles": ASPIRIN},
            {"name": "Acetylsalicylic acid", "smiles": "OC(=O)c1ccccc1OC(C)=O"},
        )
        assert (answer["created"], answer["existing"]) == (1, 1)
        assert len({item["compound"]["id"] for item in answer["items"]}) == 1

    @pytest.mark.parametrize("smiles", [ASPIRIN, None])
    def test_the_same_line_twice_changes_nothing(self, lab, smiles):
        line = {"name": "Aspirin", "smiles": smiles, "aliases": ["ASA", "Aspro"]}
        first = registered(lab, line)["items"][0]
        with lab.untouched():
            second = registered(lab, line)["items"][0]
        assert second == {**first, "outcome": "existing"}

    def test_a_known_name_needs_no_structure(self, lab):
        first = registered(lab, {"name": "Aspirin", "smiles": ASPIRIN})["items"][0]
        again = registered(lab, {"name": "  aspirin ", "aliases": ["ASA"]})["items"][0]
        assert again["outcome"] == "existing"
        assert again["compound"]["id"] == first["compound"]["id"]
        assert again["compound"]["aliases"] == ["ASA"]

    def test_features_come_from_the_first_spelling(self, lab, parts):
        """Tautomers have one InChIKey but different fingerprints: the first one counts."""
        from service.compounds.tables import Compound

        identifier = registered(lab, {"name": "Hydroxypyridine", "smiles": "Oc1ccccn1"})["items"][0]
        with parts.database.reading() as session:
            before = session.get(Compound, identifier["compound"]["id"]).fingerprint
        pyridone = registered(lab, {"name": "Pyridone", "smiles": "O=c1cccc[nH]1"})["items"][0]
        assert pyridone["outcome"] == "existing"
        with parts.database.reading() as session:
            assert session.get(Compound, pyridone["compound"]["id"]).fingerprint == before


class TestAtOnce:
    def test_one_structure_under_two_names_is_one_compound(self, lab):
        answers = at_once(
            *(
                lambda name=name: register(lab, {"name": name, "smiles": ASPIRIN})
                for name in ("Aspirin", "ASA", "Aspro")
            )
        )
        assert 201 in {answer.status_code for answer in answers} <= {201, 409}
        assert len(lab.every("/v1/compounds")) == 1

    def test_one_name_is_one_compound(self, lab):
        answers = at_once(*[lambda: register(lab, {"name": "Antibody"})] * 3)
        assert 201 in {answer.status_code for answer in answers} <= {201, 409}
        assert len(lab.every("/v1/compounds")) == 1
        assert lab.rows()["compound_alias"] == 1


class TestRefusals:
    def test_a_wrong_structure(self, lab):
        with lab.untouched():
            problem = lab.refused(
                register(lab, {"name": "Good", "smiles": "CCO"}, {"name": "Bad", "smiles": "C1CC"}),
                422,
            )
        (error,) = problem["errors"]
        assert (error["row"], error["column"]) == (1, "smiles")
        assert error["pointer"] == "/compounds/1/smiles"
        assert "unclosed ring" in error["message"]
        assert problem["detail"].startswith("Nothing was registered. Row 1: Bad:")

    def test_structures_without_an_identity(self, lab, subtests):
        for smiles in ("", "   ", "*CC", "C" * 1001):
            with subtests.test(smiles[:5]), lab.untouched():
                problem = lab.refused(register(lab, {"name": "Odd", "smiles": smiles}), 422)
                assert codes(problem) == [("structure", "/compounds/0/smiles")]

    def test_the_same_name_twice(self, lab):
        with lab.untouched():
            problem = lab.refused(register(lab, {"name": "A"}, {"name": "B"}, {"name": " a"}), 422)
        (error,) = problem["errors"]
        assert (error["code"], error["row"]) == ("repeated_name", 2)
        assert "rows 0 and 2" in error["message"]

    def test_the_name_of_a_compound_with_another_structure(self, lab):
        aspirin = registered(lab, {"name": "Aspirin", "smiles": ASPIRIN})["items"][0]["compound"]
        with lab.untouched():
            problem = lab.refused(register(lab, {"name": "ASPIRIN", "smiles": IMATINIB}), 422)
        assert codes(problem) == [("name_taken", "/compounds/0/name")]
        assert aspirin["id"] in problem["detail"]

    def test_the_name_of_a_compound_without_a_structure_is_not_given_one_by_the_way(self, lab):
        known = registered(lab, {"name": "Aspirin"})["items"][0]["compound"]
        with lab.untouched():
            problem = lab.refused(register(lab, {"name": "Aspirin", "smiles": ASPIRIN}), 422)
        assert f"PATCH {known['id']}" in problem["detail"]

    def test_an_alias_that_is_the_name_of_another_compound(self, lab):
        registered(lab, {"name": "A"}, {"name": "B"})
        with lab.untouched():
            problem = lab.refused(register(lab, {"name": "C", "aliases": ["new", "b"]}), 422)
        assert codes(problem) == [("name_taken", "/compounds/0/aliases/1")]

    def test_an_alias_that_another_line_of_the_request_has_taken(self, lab):
        with lab.untouched():
            problem = lab.refused(
                register(lab, {"name": "A"}, {"name": "B", "aliases": ["a"]}), 422
            )
        assert problem["errors"][0]["row"] == 1

    def test_all_or_nothing(self, lab):
        many = [{"name": f"Compound {i}", "smiles": "C" * (i + 1)} for i in range(30)]
        many[17]["smiles"] = "not a structure"
        many[23]["smiles"] = "C("
        with lab.untouched():
            problem = lab.refused(register(lab, *many), 422)
        assert [error["row"] for error in problem["errors"]] == [17, 23]
        assert problem["error_count"] == 2
        assert "(1 more below)" in problem["detail"]

    def test_bodies_that_break_the_schema(self, lab, subtests):
        for body, pointer in [
            ({}, "/compounds"),
            ({"compounds": []}, "/compounds"),
            ({"compounds": [{}]}, "/compounds/0/name"),
            ({"compounds": [{"name": ""}]}, "/compounds/0/name"),
            ({"compounds": [{"name": " \u3000 "}]}, "/compounds/0/name"),
            ({"compounds": [{"name": "a\nb"}]}, "/compounds/0/name"),
            ({"compounds": [{"name": "a\u2028b"}]}, "/compounds/0/name"),
            ({"compounds": [{"name": "a\u0000b"}]}, "/compounds/0/name"),
            ({"compounds": [{"name": "A375\u200b"}]}, "/compounds/0/name"),
            ({"compounds": [{"name": "x" * 201}]}, "/compounds/0/name"),
            ({"compounds": [{"name": "\ufdfa" * 100}]}, "/compounds/0/name"),
            ({"compounds": [{"name": 7}]}, "/compounds/0/name"),
            ({"compounds": [{"name": "A", "smiles": 7}]}, "/compounds/0/smiles"),
            ({"compounds": [{"name": "A", "aliases": "B"}]}, "/compounds/0/aliases"),
            ({"compounds": [{"name": "A", "nmae": "B"}]}, "/compounds/0/nmae"),
            ({"compounds": [{"name": "A"}], "dry_run": True}, "/dry_run"),
        ]:
            with subtests.test(str(body)[:60]), lab.untouched():
                problem = lab.refused(lab.post("/v1/compounds", body), 422)
                assert problem["errors"][0]["pointer"] == pointer

    def test_a_lone_surrogate_is_refused_like_any_other_bad_character(self, lab):
        body = b'{"compounds": [{"name": "\\ud800"}]}'
        with lab.untouched():
            lab.refused(
                lab.request("POST", "/v1/compounds", content=body, headers={
                    "Content-Type": "application/json"}), 422)  # fmt: skip


class TestOtherWorkspaces:
    def test_both_labs_may_register_the_same_structure_and_name(self, lab, other_lab):
        line = {"name": "Aspirin", "smiles": ASPIRIN}
        mine = registered(lab, line)["items"][0]
        theirs = registered(other_lab, line)["items"][0]
        assert mine["outcome"] == theirs["outcome"] == "created"
        assert mine["compound"]["id"] != theirs["compound"]["id"]
        assert other_lab.every("/v1/compounds") == [theirs["compound"]]

    def test_a_name_of_another_lab_is_free(self, lab, other_lab):
        registered(lab, {"name": "Secret-7", "smiles": ASPIRIN})
        answer = registered(other_lab, {"name": "Secret-7", "smiles": IMATINIB})
        assert answer["created"] == 1


def test_a_structure_gains_its_event_with_its_names_and_forms(lab):
    identifier = registered(lab, {"name": "Aspirin", "smiles": ASPIRIN, "aliases": ["ASA"]})
    identifier = identifier["items"][0]["compound"]["id"]
    assert [e["action"] for e in lab.events() if e["subject_type"] != "api_key"] == [
        "compound.created", "substance.created",
        "compound_alias.created", "compound_alias.created",
    ]  # fmt: skip
    (event,) = lab.events(subject_id=identifier)
    assert event["new"]["name"] == "Aspirin"
    assert "fingerprint" not in event["new"]


class TestTargets:
    """Gene symbols of what a compound acts on: added once, never contradicted in silence."""

    def put(self, lab, **said):
        return lab.post("/v1/compounds", {"compounds": [{"name": "Trametinib", **said}]})

    def test_they_come_back_sorted(self, lab):
        (item,) = lab.ok(self.put(lab, targets=["MAP2K2", "MAP2K1"]))["items"]
        assert item["compound"]["targets"] == ["MAP2K1", "MAP2K2"]
        (plain,) = lab.ok(lab.post("/v1/compounds", {"compounds": [{"name": "B"}]}))["items"]
        assert plain["compound"]["targets"] is None
        assert item["compound"]["version"] == plain["compound"]["version"] == 1

    def test_given_later_they_are_one_new_version(self, lab):
        lab.ok(self.put(lab))
        versions = [
            lab.ok(self.put(lab, **said))["items"][0]["compound"]["version"]
            for said in ({"targets": ["BRAF"]}, {"targets": ["BRAF"]}, {})
        ]
        assert versions == [2, 2, 2]

    def test_added_to_a_known_compound_and_not_contradicted(self, lab):
        lab.ok(self.put(lab))
        (item,) = lab.ok(self.put(lab, targets=["MAP2K1"]))["items"]
        assert (item["outcome"], item["compound"]["targets"]) == ("existing", ["MAP2K1"])
        with lab.untouched():
            problem = lab.refused(self.put(lab, targets=["BRAF"]), 422)
        assert codes(problem) == [("contradiction", "/compounds/0/targets")]

    def test_patch_replaces(self, lab):
        (item,) = lab.ok(self.put(lab, targets=["BRAF"]))["items"]
        path = f"/v1/compounds/{item['compound']['id']}"
        changed = lab.ok(lab.patch(path, {"targets": ["RAF1"]}, item["compound"]["version"]))
        assert changed["targets"] == ["RAF1"]

    @pytest.mark.parametrize("targets", [[], ["A B"], ["BRAF", "BRAF"], [""], ["x" * 41]])
    def test_what_is_no_list_of_genes(self, lab, targets):
        with lab.untouched():
            lab.refused(self.put(lab, targets=targets), 422)
