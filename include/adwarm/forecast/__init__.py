"""Predicts how likely each report is opened in each coming hour.

`adwarm.forecast.protocol` is the interface of every forecast, `adwarm.forecast.training.train` trains them, and
`adwarm.forecast.snapshot` stores and loads them. This package imports nothing, because the models need numpy and
pandas, which a DAG file must not import.
"""
