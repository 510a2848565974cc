"""The SQL of the page, one module per tab. Every statement is bounded by an index, a page size or an aggregate."""
