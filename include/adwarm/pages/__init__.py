"""The web page: what is warm, what it costs, what is stuck and why, and actions. Mounted by Airflow and `adwarm serve`.

| module        | what it does                                                                                       |
|---------------|----------------------------------------------------------------------------------------------------|
| `application` | builds the ASGI application from the tabs: routes, checks of access and forms, headers             |
| `access`      | who visits and what they may do; the mounts implement it                                           |
| `tab`         | what a tab, a tile and a form are                                                                  |
| `views`       | one module per tab: its tiles and forms, and what they show                                        |
| `queries`     | one module per tab: its SQL                                                                        |
| `templates`   | one folder per tab                                                                                 |
| `static`      | style and script, the same for everybody                                                          |
"""
