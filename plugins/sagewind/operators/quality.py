"""Model quality against labels: what can be judged, against which version, and the verdict."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sagewind import capture, endpoints, s3
from sagewind.errors import TaskRefused
from sagewind.facts import contract
from sagewind.operators.base import SagewindOperator, pulled
from sagewind.operators.registry import ServingVersionOperator, version_record

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class LabelledTrafficOperator(SagewindOperator):
    """Lists the traffic of the run's window, moved back by the time that labels take, and the labels for it.

    Skips what follows if there is no traffic of users or no label: then there is nothing to judge. A label is known
    after its request, so labels of the window's first hour and of all later ones are listed. Returns
    {manifest, labels, objects, label_objects, start, end}.
    """

    about = (
        "Lists the captured requests of the window, moved back by the time that labels take, and their labels. "
        "Skipped, with all that follows: there is no traffic or no label. Red: the labels' place cannot be read; the "
        "log says why."
    )
    template_fields = ("folder", "manifest", "label_manifest")

    def __init__(
        self, *, folder: str, ground_truth: str, delay_hours: float, manifest: str, label_manifest: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.ground_truth = ground_truth
        self.delay_hours = delay_hours
        self.manifest = manifest
        self.label_manifest = label_manifest

    def execute(self, context: Context) -> dict[str, Any]:
        """List and write down."""
        start, end = delayed(self.plan(context)["window"], self.delay_hours)
        since = f"from {start.isoformat() if start else 'the beginning'}"
        uris = capture.of_users(self.aws, list(capture.in_window(self.aws, self.folder, start, end)))
        if not uris:
            raise self.skipped(
                f"no traffic of users was captured below {self.folder} {since} to {end.isoformat()}: "
                "model quality is not judged"
            )
        labels = self._labels(start)
        if not labels:
            self._require_layout()
            raise self.skipped(
                f"no labels lie below {self.ground_truth}/yyyy/mm/dd/hh {since} on: model quality is not judged"
            )
        self.log.info("%d files of captured requests and %d of labels, %s", len(uris), len(labels), since)
        return {
            "manifest": capture.write_manifest(self.aws, self.folder, uris, self.manifest),
            "labels": capture.write_manifest(self.aws, self.ground_truth, labels, self.label_manifest),
            "objects": len(uris),
            "label_objects": len(labels),
            "start": start.isoformat() if start else "",
            "end": end.isoformat(),
        }

    def _labels(self, start: datetime | None) -> list[str]:
        from botocore.exceptions import ClientError

        from sagewind.aws import is_passing

        try:
            return list(capture.labels(self.aws, self.ground_truth, start))
        except ClientError as error:
            if is_passing(error):
                raise
            raise TaskRefused(
                f"monitor.ground_truth {self.ground_truth} cannot be listed ({error}): "
                "check the bucket's name and the connection's rights"
            ) from None

    def _require_layout(self) -> None:
        """TaskRefused if files lie there and none of any time is taken for labels: that is no lack of labels."""
        stray = capture.first_key(self.aws, self.ground_truth)
        if stray is not None and not self._labels(None):
            raise TaskRefused(
                f"no file below monitor.ground_truth {self.ground_truth} is taken for labels, for instance {stray}: "
                "name them yyyy/mm/dd/hh/<name>.jsonl below it, by the hour (UTC) in which they came"
            )


def delayed(window: dict[str, str], hours: float) -> tuple[datetime | None, datetime]:
    """Start (None: the beginning) and end of a plan's window, moved back."""
    back = timedelta(hours=hours)
    start = datetime.fromisoformat(window["start"]) - back if window["start"] else None
    return start, datetime.fromisoformat(window["end"]) - back


class JudgedVersionOperator(ServingVersionOperator):
    """Finds the version that serves, the baseline of its quality, and since when the traffic can be its own.

    Answers of an earlier version are not held against this one: the window begins when the endpoint's config was
    made, if that is later. Otherwise a retrained model would be blamed for its predecessor as long as labels are late,
    and retrained again and again. Skips if the whole window lies before. Returns the version's record with {quality,
    start, end}.
    """

    about = (
        "Finds the version whose answers are judged, and since when they can be its own. Skipped, with all that "
        "follows: none of the traffic is. Red: there is no such version or it has no quality to compare with; the log "
        "says what to run."
    )

    def __init__(self, *, traffic_task: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.traffic_task = traffic_task

    def execute(self, context: Context) -> dict[str, Any]:
        """Look it up."""
        traffic = pulled(context, self.traffic_task)
        config, package = self.serving()
        found = version_record(package)
        quality = package.get("ModelMetrics", {}).get("ModelQuality", {})
        if "Constraints" not in quality:
            raise TaskRefused(
                f"endpoint {self.endpoint} serves version {found['version']}, which was registered without constraints "
                f"of its quality: run {self.model}_training, whose version brings them"
            )
        since, end = endpoints.config_time(self.aws, config), datetime.fromisoformat(traffic["end"])
        if since >= end:
            raise self.skipped(
                f"version {found['version']} serves since {since.isoformat()}, none of the traffic until "
                f"{end.isoformat()} is its own: model quality is not judged"
            )
        start = max(since, datetime.fromisoformat(traffic["start"])) if traffic["start"] else since
        self.log.info("version %s, its answers from %s to %s", found["version"], start.isoformat(), end.isoformat())
        return {
            **found,
            "quality": quality["Constraints"]["S3Uri"].rsplit("/", 1)[0],
            "start": start.isoformat(),
            "end": end.isoformat(),
        }


class QualityVerdictOperator(SagewindOperator):
    """Reads what the job of merge and check found; skips if no request has a label: that is no verdict.

    TaskRefused if at least half of the labelled records could not be used. Returns {verdict, violations, rows,
    requests, labelled, not_checked, unusable}.
    """

    about = (
        "Reads how good the labelled predictions were. Green with violations too: they are in the log. Skipped: no "
        "request has a label. Red: too few records could be used; the log shows one and names the report."
    )
    template_fields = ("folder",)
    ui_color = "#fdebd0"

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def execute(self, context: Context) -> dict[str, Any]:
        """Read and tell."""
        counts = s3.get_json(self.aws, f"{self.folder}/merge.json")
        if not counts["merged_requests"]:
            ids = counts["request_without_label"], counts["label_without_request"]
            shown = "" if None in ids else " (a request's id is {!r}, a label's {!r})".format(*ids)
            raise self.skipped(
                f"none of the {counts['requests']} captured requests that were read has one of the {counts['labels']} "
                f"labels{shown}: model quality is not judged (see {self.folder}/report.html)"
            )
        found = s3.get_json(self.aws, f"{self.folder}/{contract.VIOLATIONS_JSON}")["violations"]
        result = {
            "verdict": "violations" if found else "ok",
            "violations": found,
            "rows": s3.get_json(self.aws, f"{self.folder}/{contract.STATISTICS_JSON}")["dataset"]["item_count"],
            "requests": counts["requests"],
            "labelled": counts["merged_requests"],
            "not_checked": counts["constraints_not_checked"],
            "unusable": counts["unusable_records"] + counts["unreadable_labels"],
        }
        if lost := result["unusable"]:
            shown = [*counts["unusable_shown"], *counts["unreadable_lines"]][0]
            said = f"{lost} records or labels could not be used, the first: {shown}"
            if lost >= result["rows"]:
                raise TaskRefused(
                    f"{said}; {result['rows']} could, too few for a verdict: see {self.folder}/report.html"
                )
            self.log.warning("%s", said)
        for violation in found:
            self.log.warning("%s: %s", violation["metric_name"], violation["description"])
        if result["not_checked"]:
            self.log.warning("not defined by these rows, so not checked: %s", ", ".join(result["not_checked"]))
        self.log.info("%s over %d labelled rows: %s/report.html", result["verdict"], result["rows"], self.folder)
        return result
