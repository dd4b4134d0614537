"""Where a run leads, for people: the groups of tasks that a DAG's graph shows, and what starts the DAG."""

from __future__ import annotations

from typing import Any, Literal

from airflow.sdk import DAG, AssetAll, AssetOrTimeSchedule, TaskGroup

GroupName = Literal["data", "training", "release", "serving", "checks", "clean_up"]
#: What a group is for: the same in every DAG that has it.
TOOLTIPS: dict[GroupName, str] = {
    "data": "What the run works on: its plan, its rows, the version concerned",
    "training": "Fits the model, measures it on rows that it has not seen, and describes its data for the monitor",
    "release": "Lets only what is good enough pass, to where others find it",
    "serving": "Lets the model answer, at an endpoint or for a batch, and proves the endpoint's answers",
    "checks": "Holds scores and traffic against what is expected",
    "clean_up": "Whatever happened: stops and deletes what is not needed any more, and ends the run",
}


def group(name: GroupName) -> TaskGroup:
    """A new group of the open DAG. The ids of its tasks stay as they are: templates and job names hold them."""
    return TaskGroup(name, prefix_group_id=False, group_display_name=name.replace("_", "-"), tooltip=TOOLTIPS[name])


def about(dag: DAG) -> str:
    """Markdown: what starts a DAG of groups, and what its groups are for, in the order of a run.

    Raises if groups wait for each other: Airflow could draw no graph of the DAG.
    """
    groups = [node for node in dag.task_group.topological_sort() if isinstance(node, TaskGroup)]
    lines = [f"- **{each.label}**: {each.tooltip}." for each in groups]
    return "\n".join(
        [f"Starts {starters(dag.schedule)}.", "", "Groups of tasks, each opened by a click:", "", *lines, ""]
    )


def starters(schedule: Any) -> str:
    """What starts runs. Of a cron and an event, Airflow's own pages show the event alone."""
    if schedule is None:
        return "by hand"
    return f"{_by_itself(schedule)}, or by hand"


def _by_itself(schedule: Any) -> str:
    if isinstance(schedule, AssetOrTimeSchedule):
        return f"{_by_itself(schedule.timetable)}, on {_events(schedule.asset_condition)}"
    if isinstance(schedule, list):
        return f"on {_events(AssetAll(*schedule))}"
    return f"by cron `{schedule.expression}` ({schedule.timezone})"


def _events(condition: Any) -> str:
    return " and ".join(f"the event `{event.name}`" for event in condition.objects)
