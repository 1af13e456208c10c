"""The jobs of this room. The API imports this module too, so torch is imported inside."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from service.kit.ids import new_id
from service.kit.jobs import JobContext, JobFailed, handler, problem_dict
from service.learning.repository import PredictionRepository, ReplayedCampaignRepository
from service.learning.service import PREDICT, REPLAY, TRAIN
from service.learning.tables import Prediction, ReplayedCampaign


@handler(TRAIN, queue="train")
def train(ctx: JobContext) -> dict[str, Any]:
    """Fit the campaign's model on everything measured so far."""
    from service.learning.fitting import Fitting, add_model, round_rules, unit_of

    campaign_id = str(ctx.campaign_id)
    fitting = Fitting(ctx, campaign_id, round_rules(ctx.args["rules"]), ctx.args["seed"])
    columns = fitting.describe_model()
    if columns is None:
        detail = fitting.fitted.reason
        raise JobFailed(problem_dict("too-few-blocks", "Too little was measured", detail, 409))

    def publish(session: Session) -> dict[str, Any]:
        model = add_model(unit_of(ctx, session), columns)
        return {"model": f"/v1/models/{model.id}"}

    return ctx.transaction("publish", publish)


@handler(PREDICT, queue="score")
def predict(ctx: JobContext) -> dict[str, Any]:
    """Ask a fitted model."""
    from service.learning.fitting import unit_of
    from service.learning.predicting import answer

    model, items = answer(ctx)

    def publish(session: Session) -> dict[str, Any]:
        unit = unit_of(ctx, session)
        prediction = Prediction(
            id=new_id("prd"),
            campaign_id=model.campaign_id,
            job_id=ctx.job_id,
            model_id=model.id,
            n_items=len(items),
            items=items,
        )
        PredictionRepository(session, unit.principal).add(prediction)
        session.flush()
        return {"prediction": f"/v1/predictions/{prediction.id}"}

    return ctx.transaction("publish", publish)


@handler(REPLAY, queue="train")
def replay(ctx: JobContext) -> dict[str, Any]:
    """Compare strategies on what the campaign has measured."""
    from service.learning.fitting import unit_of
    from service.learning.past_rounds import ReplayJob

    columns = ReplayJob(ctx).run()

    def publish(session: Session) -> dict[str, Any]:
        unit = unit_of(ctx, session)
        made = ReplayedCampaign(id=new_id("rpl"), **columns)
        ReplayedCampaignRepository(session, unit.principal).add(made)
        session.flush()
        return {"replay": f"/v1/replays/{made.id}"}

    return ctx.transaction("publish", publish)
