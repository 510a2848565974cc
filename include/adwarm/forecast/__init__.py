"""How likely each report is to be opened in each coming hour.

`adwarm.forecast.snapshot` trains, stores and loads; `adwarm.forecast.protocol` is the seam every model fits. Nothing is
imported here, because the models need numpy and pandas and a DAG file must not.
"""
