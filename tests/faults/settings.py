"""The short heartbeats of the fault harness, and every other time it uses, in one place (seconds).

Airflow's own values suit a cluster: a dead triggerer is noticed after half a minute, a dead task after five. Here
they are as short as two loaded cores allow; a harness that waits for the long ones injects a fault a minute.
"""

from __future__ import annotations

#: A triggerer that has not been heard of for so long is dead: others take its triggers over (Airflow: 30).
TRIGGERER_SILENCE = 8
#: A task whose supervisor has not been heard of for so long is dead and tried again (Airflow: 300). It must be more
#: than the longest pause of the API server and its start, or every such fault would end all tasks.
TASK_SILENCE = 15
#: The same for a scheduler, whose queued tasks a new one then takes over (Airflow: 30).
SCHEDULER_SILENCE = 10

AIRFLOW = {
    ("triggerer", "job_heartbeat_sec"): "1",  # an eighth of the silence that counts as death
    ("triggerer", "triggerer_health_check_threshold"): str(TRIGGERER_SILENCE),
    # The watchdog inside a triggerer: not longer than the silence, else a hung event loop looks alive twice as long.
    ("triggerer", "runner_health_check_threshold"): str(TRIGGERER_SILENCE),
    # Airflow gives up on a trigger's on_kill after 30: on loaded cores it would then be proved harmless by not running.
    ("triggerer", "on_kill_timeout"): "150",
    ("scheduler", "job_heartbeat_sec"): "1",
    ("scheduler", "scheduler_heartbeat_sec"): "1",
    ("scheduler", "scheduler_health_check_threshold"): str(SCHEDULER_SILENCE),
    ("scheduler", "task_instance_heartbeat_timeout"): str(TASK_SILENCE),
    ("scheduler", "task_instance_heartbeat_timeout_detection_interval"): "2",  # how often dead tasks are looked for
    # A task whose worker was killed between taking it and starting it stays queued so long (Airflow: 600, every 120).
    ("scheduler", "task_queued_timeout"): "60",
    ("scheduler", "task_queued_timeout_check_interval"): "5",
    ("scheduler", "orphaned_tasks_check_interval"): "3",  # how often a dead scheduler's tasks are looked for
    # A task ends itself after so many heartbeats that the API server did not take: together they outlast its restart.
    ("workers", "min_heartbeat_interval"): "2",
    ("workers", "max_failed_heartbeats"): "10",
    ("workers", "execution_api_retry_wait_max"): "8",  # a call waits for the restarted API server, not past it
    ("dag_processor", "min_file_process_interval"): "600",  # nothing changes: parsing would only take the cores
    ("database", "sql_alchemy_pool_pre_ping"): "True",  # Airflow's default, which a cut connection needs: stated
    # Before the second try of a task, doubled for each further one (default: 10): together with the retries of its
    # calls the tries of a task outlast a restart of the API server, which takes most of a minute on loaded cores.
    ("sagewind", "retry_delay_seconds"): "4",
}

#: A job stays in `Starting` for a while, so that a fault meets waiting tasks too and not only running ones; one that
#: ignores SIGTERM is killed soon.
LOCALAWS = ("--time", "job-start=3", "--grace", "3")
#: Pauses of the triggerer are longer than its silence, so that it comes back after it was replaced.
TRIGGERER_PAUSE = (TRIGGERER_SILENCE + 2.0, TRIGGERER_SILENCE + 5.0)
#: A worker that was paused before its task created the job comes back after another try of the task was started.
WORKER_PAUSE = (TASK_SILENCE + 2.0, TASK_SILENCE + 5.0)
#: Other pauses: from a hiccup to longer than a heartbeat, shorter than the patience of who waits for an answer.
PAUSE = (2.0, 7.0)
#: From the end of a fault to the next one.
GAP = (0.5, 5.0)
#: After kill -9 of a scheduler or triggerer its children live on for so long, as where nothing ends the whole group.
LINGER = 6.0
#: How long the moment of a task fault is waited for; no task may be left to come.
MOMENT = 40.0

START_SECONDS = 400.0  # for each component to be ready, on a loaded machine
RUN_SECONDS = 1500.0  # for the runs to end once no fault comes any more
