"""Every table under its name: each stands beside its functions, and importing this module registers all of them.

The comment above a table says whether it grows and what bounds it; docs/reference/tables.md describes the columns.
"""

from adwarm.store.access_patterns import access_pattern, access_profile
from adwarm.store.access_tokens import page_session
from adwarm.store.access_tokens import table as access_token
from adwarm.store.account_discoveries import table as account_discovery
from adwarm.store.accounts import table as account
from adwarm.store.action_events import table as action_event
from adwarm.store.aggregates import access_aggregate, log_file, watermark
from adwarm.store.alerts import alert, alert_delivery
from adwarm.store.capacity import capacity_grant, capacity_sample, capacity_scope, machine_load
from adwarm.store.columns import metadata
from adwarm.store.compression_days import table as compression_day
from adwarm.store.creatives import table as ad_creative
from adwarm.store.data_arrivals import table as data_arrival
from adwarm.store.entries import table as entry
from adwarm.store.entry_versions import table as entry_version
from adwarm.store.error_events import error_event
from adwarm.store.fatigue_alerts import table as fatigue_alert
from adwarm.store.fatigue_days import fatigue_prior
from adwarm.store.fatigue_days import table as fatigue_day
from adwarm.store.gates import table as gate
from adwarm.store.healing_runs import healing_run
from adwarm.store.impact import impact_design, impact_unit
from adwarm.store.integrity_days import table as integrity_day
from adwarm.store.jobs import table as warming_job
from adwarm.store.leases import table as lease
from adwarm.store.maintenance_steps import table as maintenance_step
from adwarm.store.partitions import table as partition
from adwarm.store.payloads import table as payload
from adwarm.store.quarantine import table as quarantined_item
from adwarm.store.read_traffic import call_hour, latency_count
from adwarm.store.read_traffic import table as traffic_hour
from adwarm.store.reconciliations import table as reconciliation
from adwarm.store.report_versions import table as report_version
from adwarm.store.requests import table as request
from adwarm.store.schema_changes import schema_change
from adwarm.store.scores import table as fatigue_score
from adwarm.store.snapshots import forecast_snapshot, policy, policy_review
from adwarm.store.strategies import states as strategy_state
from adwarm.store.strategies import table as strategy
from adwarm.store.warms import table as warm

__all__ = [
    "access_aggregate",
    "access_pattern",
    "access_profile",
    "access_token",
    "account",
    "account_discovery",
    "action_event",
    "ad_creative",
    "alert",
    "alert_delivery",
    "call_hour",
    "capacity_grant",
    "capacity_sample",
    "capacity_scope",
    "compression_day",
    "data_arrival",
    "entry",
    "entry_version",
    "error_event",
    "fatigue_alert",
    "fatigue_day",
    "fatigue_prior",
    "fatigue_score",
    "forecast_snapshot",
    "gate",
    "healing_run",
    "impact_design",
    "impact_unit",
    "integrity_day",
    "latency_count",
    "lease",
    "log_file",
    "machine_load",
    "maintenance_step",
    "metadata",
    "page_session",
    "partition",
    "payload",
    "policy",
    "policy_review",
    "quarantined_item",
    "reconciliation",
    "report_version",
    "request",
    "schema_change",
    "strategy",
    "strategy_state",
    "traffic_hour",
    "warm",
    "warming_job",
    "watermark",
]
