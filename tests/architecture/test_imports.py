"""Who may import what: the parts of the ladders that an import graph alone cannot say."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from importlinter import cli as import_linter

from tests.architecture.source import ROOT, sources

HTTP = [
    "service.app",
    "service.health",
    "service.web.*",
    "service.kit.auth.verify",
    "service.kit.body",
    "service.kit.etag",
    "service.kit.pagination",
    "service.kit.problems",
    "service.kit.requests",
    "service.kit.unit",
]
TENSORS = [
    "models.*",
    "service.learning.*",
    "service.batches.pool",
    "service.batches.recommending",
    "service.surfaces.making",
    "service.surfaces.sampling",
    "service.triage.making",
    "service.triage.folder",
]

# Package -> the modules that may import it. A name that ends in .* means everything below.
DATASETS = [
    "service.datasets.learning.*",
    "service.datasets.reading.*",
    "service.datasets.fitting",
    "service.datasets.storage",
    "service.datasets.summary",
]
"""Tables of responses and time courses; workers alone import these."""
ONLY = {
    "dbos": ["service.kit.jobs.engine"],
    "rdkit": ["models.chemistry.*"],
    "alembic": ["migrations.*"],
    "fastapi": HTTP,
    "starlette": HTTP,
    "uvicorn": ["service.cli", "service.kit.bounded_http"],
    "typer": ["service.cli", "service.screen_commands"],
    "jinja2": ["service.web.*"],
    "matplotlib": ["service.learning.replay_plot"],
    "httpx2": ["service.demo.*", "service.client.*"],
    "torch": ["models.*", "service.learning.*", "service.kit.devices", DATASETS[0]],
    "torchdiffeq": ["models.dynamics.*"],
    "zuko": ["models.dynamics.stochastic.*"],
    "anndata": ["service.datasets.reading.anndata_file"],
    "numpy": [*TENSORS, *DATASETS, "service.demo.*", "service.assays.uploads.judging"],
    "scipy": ["models.*", "service.demo.*"],
    "models.rounds": TENSORS,
    "models.screen": [*TENSORS, *DATASETS, "service.demo.*", "service.assays.uploads.judging"],
    "models.quality": ["models.*", "service.assays.uploads.judging"],
    "models.synergy": ["models.*", "service.learning.*"],
    "models.acquisition": ["models.*", "service.batches.recommending"],
    "models.bayes": ["models.*", "service.learning.*"],
    "models.perturbation": ["models.*", *DATASETS],
    "models.surfaces": ["models.*", "service.surfaces.making", "service.surfaces.sampling"],
    "models.triage": ["models.*", "service.triage.*"],
    "models.dynamics": ["models.*", *DATASETS],
    "safetensors": ["models.*", "service.learning.*", "service.surfaces.making", *DATASETS],
    "pyarrow": ["service.batches.documents", "service.assays.files_in.parquet"],
    "python_calamine": ["service.assays.files_in.workbook"],
    "pickle": [],
    "cloudpickle": [],
    "dill": [],
    "joblib": [],
    "marshal": [],
    "shelve": [],
}


@pytest.mark.parametrize("package", ONLY)
def test_a_package_is_imported_only_where_it_belongs(package: str) -> None:
    """House rules 1, 2, 3 and 6: pure models, one room with tensors, one with the job engine,
    endpoints alone know HTTP, no pickle anywhere."""
    found = [
        source.name
        for source in sources("service", "models", "migrations", "benchmarks")
        if any(f"{name}.".startswith(f"{package}.") for name in source.imports())
        and not source.name.startswith("benchmarks")
        and not any(_covers(pattern, source.name) for pattern in ONLY[package])
        and not (package in ("fastapi", "starlette") and source.path.name == "endpoints.py")
    ]
    assert found == [], f"{package} belongs to {ONLY[package] or 'nobody'}"


def test_the_contracts_of_import_linter_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """House rule 0: imports point down the two ladders (.importlinter)."""
    code = import_linter.lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True)
    assert code == 0, capsys.readouterr().out


def test_models_run_on_a_bare_gpu_machine() -> None:
    """House rule 1: all of models/ but the chemistry imports with torch, torchdiffeq, zuko, numpy,
    scipy and safetensors alone, so that benchmarks need nothing else."""
    names = [s.name for s in sources("models") if s.room != "models.chemistry"]
    _run(f"""
        import sys
        from importlib.metadata import packages_distributions, requires
        import re

        wanted = ["torch", "torchdiffeq", "zuko", "numpy", "scipy", "safetensors"]
        allowed = set()
        while wanted:
            name = wanted.pop()
            if name not in allowed:
                allowed.add(name)
                needs = [n for n in requires(name) or [] if "extra ==" not in n]
                wanted += [re.match(r"[\\w.-]+", n)[0].lower().replace("_", "-") for n in needs]

        class Bare:
            known = packages_distributions()
            def find_spec(self, name, path=None, target=None):
                top = name.partition(".")[0]
                owners = {{o.lower().replace("_", "-") for o in self.known.get(top, [])}}
                ours = top in ("service", "migrations")
                if ours or (top != "models" and owners and not owners & allowed):
                    raise ImportError(f"{{name}} is not there on a bare machine")

        sys.meta_path.insert(0, Bare())
        import importlib
        for name in {names!r}:
            importlib.import_module(name)
        assert "rdkit" not in sys.modules
    """)


def test_the_api_process_never_loads_torch_and_knows_every_kind_of_job() -> None:
    """No GPU function in the API process, a start in seconds; and it can enqueue whatever the
    worker runs. Only a fresh process shows it: here every module is loaded already."""
    _run("""
        import sys
        import service.app
        from service.kit.jobs import registered_kinds

        heavy = {"torch", "scipy", "pyarrow"} & set(sys.modules)
        assert not heavy, heavy

        known_to_the_api = registered_kinds()
        from service import cli
        cli._register_jobs()
        assert known_to_the_api == registered_kinds() != []
    """)


def _run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def _covers(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.endswith(".*") and f"{name}.".startswith(pattern[:-1]))
