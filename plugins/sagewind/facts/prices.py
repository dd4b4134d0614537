"""On-demand prices, for estimates and never for a bill: a table of one region, with its source and its date."""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "https://aws.amazon.com/sagemaker/pricing/"
#: When the table was written down, as an ISO 8601 date; not compared since. Prices change and differ by region.
AS_OF = "2026-11-20"
REGION = "us-east-1"

#: US dollars per hour of one instance in REGION, SageMaker on demand.
DOLLARS_PER_HOUR: Mapping[str, float] = {
    "ml.t3.medium": 0.05,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
}
