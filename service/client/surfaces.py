"""Whole dose-response surfaces with bands, and which wells to measure next."""

from __future__ import annotations

from collections.abc import Iterator

from service.client.calls import Calls, Json


class SurfaceCalls(Calls):
    """Methods named after their operations, as all of the client."""

    def fit_surfaces(self, campaign_id: str, seed: int | None = None) -> Json:
        """The job that learns surfaces from all measured blocks; its result names the fit."""
        body = {} if seed is None else {"seed": seed}
        return self._post("fit_surfaces", body=body, campaign_id=campaign_id)

    def sample_surface(
        self,
        campaign_id: str,
        compounds: tuple[str, str],
        cell_line: str,
        *,
        draws: int = 50,
        seed: int | None = None,
    ) -> Json:
        """The job that draws missing wells and replicates of a block; its result holds them."""
        body = {"compounds": list(compounds), "cell_line": cell_line, "draws": draws, "seed": seed}
        return self._post("sample_surface", body=body, campaign_id=campaign_id)

    def list_surface_fits(self, campaign_id: str) -> Iterator[Json]:
        return self._http.every("list_surface_fits", {"campaign_id": campaign_id})

    def get_surface_fit(self, surface_fit_id: str) -> Json:
        """Which model is served, and the held-out evidence of all."""
        return self._get("get_surface_fit", surface_fit_id=surface_fit_id)

    def list_surface_blocks(
        self,
        surface_fit_id: str,
        *,
        cell_line: str,
        compound: str | None = None,
        partner: str | None = None,
        limit: int | None = None,
    ) -> Json:
        """Surfaces with bands, margins, measured wells and the wells to measure next."""
        query = {
            "cell_line": cell_line, "compound": compound, "partner": partner, "limit": limit,
        }  # fmt: skip
        path = {"surface_fit_id": surface_fit_id}
        found: Json = self._http.call("list_surface_blocks", path, query=query)
        return found

    def get_next_wells(
        self,
        surface_fit_id: str,
        *,
        cell_line: str,
        compound: str,
        partner: str,
        block_shape: str | None = None,
        count: int | None = None,
    ) -> Json:
        """The wells of a block template, the one that teaches most first."""
        query = {
            "cell_line": cell_line, "compound": compound, "partner": partner,
            "block_shape": block_shape, "count": count,
        }  # fmt: skip
        path = {"surface_fit_id": surface_fit_id}
        found: Json = self._http.call("get_next_wells", path, query=query)
        return found
