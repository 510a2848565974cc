from pathlib import Path

from adwarm import load_settings, read_events

Path("opens.jsonl").write_text('{"ts": "2026-11-02T08:00:00Z", "account_id": "act_1", "date_range": "last_7d"}\n')
batches = list(read_events("opens.jsonl", load_settings()))
assert sum(batch.num_rows for batch in batches) == 1
