"""What a watched folder says about its files: which campaign, which scale. Never guessed.

``nextround.json`` in ``inbox/`` (or in a folder below it, for the files there) holds what the
tables do not say themselves:

    {"campaign": "cam_...", "field_map": "CDD protocol 12", "quantity": "viability",
     "unit": "percent"}

Reader files may need ``format``, ``label`` (which read counts), ``rule`` (how readings become
viability) and ``accept_flags``. ``read_as`` is ``table`` or ``file`` where the content must not
decide whether a file is a table of wells or one for the importer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG = "nextround.json"
_SUBMITTED = {
    "field_map": str,
    "quantity": str,
    "unit": str,
    "dose_unit": str,
    "decimal": str,
    "cell_line": str,
    "repeats": str,
    "note": str,
    "confirm_scale": bool,
}
_IMPORTED = {"format": str, "label": str, "rule": str, "accept_flags": bool}
# What is said of tables, and the importer asks of them as well.
_OF_BOTH = frozenset({"quantity", "unit", "decimal", "cell_line", "repeats", "confirm_scale"})
READ_AS = ("table", "file")
_KEYS = {"campaign": str, "file_names": str, "read_as": str, **_SUBMITTED, **_IMPORTED}
# Names that programs give to files which they have not finished.
_UNFINISHED = re.compile(
    r"^[.~]|~$|\.(tmp|temp|part|partial|crdownload|filepart|download|swp|writing|lock)$", re.I
)


class FolderError(ValueError):
    """A file that cannot be taken from here; the message says what to mend."""


class SettingsError(FolderError):
    """The folder's own settings cannot be used: no fault of a file, so files wait."""


@dataclass(frozen=True)
class FolderRules:
    """What ``nextround.json`` says, and what the folder above it said."""

    campaign: str | None = None
    file_names: re.Pattern[str] | None = None
    said: dict[str, Any] = field(default_factory=dict)
    """Everything about the content of files."""
    is_named: bool = False
    """The campaign is that of a folder below the inbox; names of files do not overrule it."""

    @property
    def read_as(self) -> str | None:
        """``table`` or ``file``; nothing where the content decides."""
        return self.said.get("read_as")

    @property
    def submitted(self) -> dict[str, Any]:
        """What is said with a table of wells."""
        return {key: value for key, value in self.said.items() if key in _SUBMITTED}

    @property
    def imported(self) -> dict[str, Any]:
        """What is said with a file for the importer."""
        known = _OF_BOTH | _IMPORTED.keys()
        return {key: value for key, value in self.said.items() if key in known}

    def campaign_of(self, name: str) -> str:
        """The campaign, by name or id, that the file called ``name`` belongs to."""
        if self.file_names is not None and not self.is_named:
            match = self.file_names.match(name)
            if match is None:
                raise FolderError(
                    f"the name of this file does not fit the rule file_names in {CONFIG} "
                    f"({self.file_names.pattern}); rename it, or put it into the campaign's folder"
                )
            return match["campaign"]
        if self.campaign is None:
            raise FolderError(
                f"nobody says which campaign this file belongs to; put it into a folder named "
                f"after the campaign, or name one in {CONFIG}"
            )
        return self.campaign


def read_rules(folder: Path, above: FolderRules, *, name: str | None = None) -> FolderRules:
    """The rules of ``folder``; ``name``: it is a folder below the inbox, named after a campaign."""
    path = folder / CONFIG
    try:
        said = _checked(path, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        said = {}
    except (ValueError, OSError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{path} cannot be read: {error}") from None
    pattern = said.get("file_names")
    return FolderRules(
        campaign=said.get("campaign") or name or above.campaign,
        file_names=_pattern(path, pattern) if pattern else above.file_names,
        said={
            **above.said,
            **{key: value for key, value in said.items() if key not in ("campaign", "file_names")},
        },
        is_named=name is not None,
    )


def is_finished_name(name: str) -> bool:
    """Whether a file with this name is meant to be read: not temporary, not ours."""
    return not _UNFINISHED.search(name) and name != CONFIG


def find_campaign(reference: str, campaigns: Iterable[Mapping[str, Any]]) -> str:
    """The id of the campaign with this id or exactly this name."""
    rows = list(campaigns)
    found = [str(row["id"]) for row in rows if reference in (row["id"], row["name"])]
    if len(found) == 1:
        return found[0]
    if found:
        raise FolderError(
            f"{len(found)} campaigns are named {reference!r}; use an id: {', '.join(found[:5])}"
        )
    raise FolderError(f"there is no campaign {reference!r} in this workspace")


def _checked(path: Path, said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise SettingsError(f"{path} must hold a JSON object")
    for key, value in said.items():
        if key not in _KEYS:
            raise SettingsError(f"{path}: {key!r} is unknown; known are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise SettingsError(f"{path}: {key} must be {_KEYS[key].__name__}")
    if said.get("read_as", READ_AS[0]) not in READ_AS:
        raise SettingsError(f"{path}: read_as is one of {', '.join(READ_AS)}")
    return said


def _pattern(path: Path, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise SettingsError(f"{path}: file_names is no regular expression ({error})") from None
    if "campaign" not in pattern.groupindex:
        raise SettingsError(f"{path}: file_names needs a group (?P<campaign>...)")
    return pattern
