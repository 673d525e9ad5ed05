"""What attackers write into tables and ratings."""

from __future__ import annotations

INJECTIONS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>",
    "javascript:alert(1)", "'-alert(1)-'", "</title><script>alert(1)</script>", "{{7*7}}",
    "${alert(1)}", "<iframe srcdoc='<script>alert(1)</script>'>", "\u2028alert(1)",
    "<a href=javascript:alert(1)>x</a>", "<style>@import 'x'</style>",
    "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
    "%3Cscript%3Ealert(1)%3C/script%3E", "<body onload=alert(1)>", "'; DROP TABLE readings; --",
    "<!--<script>alert(1)//-->", "<details open ontoggle=alert(1)>", "]]><script>alert(1)</script>",
    "<object data=javascript:alert(1)>",
]  # fmt: skip
