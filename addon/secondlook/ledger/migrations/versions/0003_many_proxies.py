"""Many proxies: which of them an event is of, and the keys that they share."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("proxy", sa.Text, nullable=True))
    op.create_table(
        "shared_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("made", sa.Double, nullable=False),
    )
