"""K: processes that are killed, each at the step where it hurts."""

from chaos.rows import row

row("K10", "the guardian dies in mid-transaction")(lambda f: f.crash("guardian", f.dice.choice(
    ("commit.begin", "commit.row", "commit.before"))))
row("K12", "the guardian dies after COMMIT")(lambda f: f.crash("guardian", "commit.after"))
