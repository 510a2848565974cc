"""A Graph API server that behaves like Meta's for ad insights, with seeded ads whose planted truth is known.

The package imports nothing of adwarm; the two talk over HTTP only. The demo, the tests and staging environments use it
in place of the platform. Entry points: `config.SimulatorConfig` and `server.SimulatorServer`.

Modules, from data to HTTP:

- `ads`, `dataset`, `levels`: generated ads, their daily figures, and totals by level. `true_sums` adds them up apart.
- `query`, `figures`, `fields`, `insights`, `page_cursors`: read an insights call, select rows, render a page.
- `ad_objects`, `nodes`: campaigns, ad sets, ads and accounts as nodes of the graph.
- `report_runs`: asynchronous reports. `graph_batch`: batches and `ids=`.
- `call_cost`, `hourly_quota`, `quota_engine`, `throttle_headers`: limits and the headers that report on them.
- `fault_kinds`, `fault_profile`, `fault_schedule`, `faulty_response`: faults on purpose.
- `request_handler`, `app_state`, `calls`: one call from its path to its reply, and the log of calls.
- `http_app`, `control`, `server`: the HTTP server and its control routes.
"""
