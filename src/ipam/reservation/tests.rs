//! Owners: of which pods they are, and how they are stored.
