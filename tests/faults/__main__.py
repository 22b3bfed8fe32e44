"""What does tests/FAULTS.md say? python -m tests.faults writes it."""

from tests.faults import PAGE, marked, page

PAGE.write_text(page(marked()), encoding="utf-8")
print(f"{PAGE}: {len(marked())} faults")
