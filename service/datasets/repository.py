"""SQL of data sets, of who learns from them, and of what was learned."""

from __future__ import annotations

from sqlalchemy import Select

from service.datasets.tables import CampaignDataset, Dataset, DatasetFit
from service.kit.repository import Repository


class DatasetRepository(Repository[Dataset]):
    entity = Dataset
    noun = "data set"

    def same(self, sha256: str, declared: str) -> Dataset | None:
        """The data set of these bytes, declared in this way."""
        return self.session.scalar(
            self.readable().where(Dataset.sha256 == sha256, Dataset.declared == declared)
        )

    def of_campaign(self, campaign_id: str) -> Select[Dataset]:
        """Those that a campaign learns from."""
        links = CampaignDatasetRepository(self.session, self.principal)
        return self.readable().where(Dataset.id.in_(links.dataset_ids(campaign_id)))


class CampaignDatasetRepository(Repository[CampaignDataset]):
    entity = CampaignDataset
    noun = "attached data set"

    def dataset_ids(self, campaign_id: str) -> Select[str]:
        """The ids of the data sets of a campaign."""
        return self.columns(CampaignDataset.dataset_id).where(
            CampaignDataset.campaign_id == campaign_id
        )

    def link(self, campaign_id: str, dataset_id: str) -> CampaignDataset | None:
        return self.session.scalar(
            self.readable().where(
                CampaignDataset.campaign_id == campaign_id,
                CampaignDataset.dataset_id == dataset_id,
            )
        )


class DatasetFitRepository(Repository[DatasetFit]):
    entity = DatasetFit
    noun = "fit of a data set"

    def of_dataset(self, dataset_id: str) -> Select[DatasetFit]:
        return self.readable().where(DatasetFit.dataset_id == dataset_id)

    def ids_of_dataset(self, dataset_id: str) -> Select[str]:
        return self.columns(DatasetFit.id).where(DatasetFit.dataset_id == dataset_id)

    def newest_by(self, model: str, most: int = 20) -> list[DatasetFit]:
        """The newest fits of a model in the workspace, newest first."""
        statement = self.readable().where(DatasetFit.model == model)
        return list(self.session.scalars(statement.order_by(DatasetFit.id.desc()).limit(most)))

    def latest(self, campaign_id: str) -> list[DatasetFit]:
        """The newest fit of every data set of a campaign, by data set."""
        links = CampaignDatasetRepository(self.session, self.principal)
        statement = self.readable().where(DatasetFit.dataset_id.in_(links.dataset_ids(campaign_id)))
        newest: dict[str, DatasetFit] = {}
        for fit in self.session.scalars(statement.order_by(DatasetFit.id)):
            newest[fit.dataset_id] = fit
        return [newest[key] for key in sorted(newest)]
