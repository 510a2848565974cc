"""`make test-superset`: adwarm keeps the cache of a real Apache Superset warm; not a part of CI."""
