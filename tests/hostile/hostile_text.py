"""Texts that an attacker writes where an id, a range, a name, a token or a file name belongs."""

from hypothesis import strategies as st

TRAVERSAL = ("../../etc/passwd", "act_1/../me", "..\\..\\windows", "/etc/passwd", "file:///etc/passwd", "%2e%2e%2fme")
SQL = ("act_1'; DROP TABLE entry; --", "1 OR 1=1", '"; DELETE FROM warm; --', "act_1\\'")
TEMPLATES = (
    "{{ 7*7 }}",
    "{{ var.value.x }}",
    "{% for x in y %}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{0.__class__}",
    "%(x)s",
)
SHELL = ("$(touch pwned)", "`touch pwned`", "a; touch pwned", "a | touch pwned", "-rf", "--json", "a\ntouch pwned")
MARKUP = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)")
FORMULAS = ('=HYPERLINK("http://x.test")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0")
UNICODE = (
    "act_\uff11\uff12\uff13",  # fullwidth digits
    "act_\u0661\u0662",  # Arabic digits
    "\u202eact_123",  # written from right to left
    "\u0430ct_123",  # a Cyrillic first letter
    "act_1\u200b23",  # a space of no width
    "act_1\0",
    "act_1\x1b[31m",
    "act_\u00b2",
    "last_\uff17d",
    "\ud800",
)
LONG = ("act_" + "1" * 61, "act_" + "9" * 100_000, "a" * 1_000_000)
EMPTY = ("", " ", "_act_1", "-1", ".5", "act_1,2")

HOSTILE_TEXTS = (*TRAVERSAL, *SQL, *TEMPLATES, *SHELL, *MARKUP, *FORMULAS, *UNICODE, *LONG, *EMPTY)
"""None of them is an account id, a date range or the name of a report."""

ANY_TEXT = st.one_of(
    st.sampled_from(HOSTILE_TEXTS),
    st.text(max_size=60),
    st.text("act_0123456789.-/\\'\";{}%$\0\uff11\u0661\u202e", max_size=40),
)
