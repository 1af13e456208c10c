"""A small Python client of the HTTP API. It needs httpx2 and the standard library, nothing else.

from service.client import Nextround

with Nextround("http://127.0.0.1:8000", key="nr_...") as lab:
    job = lab.request_recommendation(campaign_id)
    recommendation = lab.result(lab.wait(job), "recommendation")
"""

from service.client.api import Nextround
from service.client.errors import ClientError, JobNotSucceeded, Refused, Unreachable
from service.client.webhooks import BadSignature, verify

__all__ = [
    "BadSignature",
    "ClientError",
    "JobNotSucceeded",
    "Nextround",
    "Refused",
    "Unreachable",
    "verify",
]
