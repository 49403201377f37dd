//! Ports of a machine that is data: its tables, its routes and who listens.
