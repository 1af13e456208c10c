"""Scorecards: what pairs are worth measuring, before any network."""

from __future__ import annotations

from collections.abc import Iterator

from service.client.calls import Calls, Json


class TriageCalls(Calls):
    """Methods named after their operations, as all of the client."""

    def make_triage_card(self, campaign_id: str, seed: int | None = None) -> Json:
        """The job that makes a scorecard of everything measured; its result names the card."""
        body = {} if seed is None else {"seed": seed}
        return self._post("make_triage_card", body=body, campaign_id=campaign_id)

    def list_triage_cards(self, campaign_id: str) -> Iterator[Json]:
        return self._http.every("list_triage_cards", {"campaign_id": campaign_id})

    def get_triage_card(self, card_id: str) -> Json:
        """Points of everything that is known of a block, and how far to trust them."""
        return self._get("get_triage_card", card_id=card_id)

    def get_triage_scores(
        self, card_id: str, *, limit: int | None = None, cell_line: str | None = None
    ) -> Json:
        """What is not measured yet, the most points first, with intervals and reasons."""
        query = {"limit": limit, "cell_line": cell_line}
        found: Json = self._http.call("get_triage_scores", {"card_id": card_id}, query=query)
        return found
