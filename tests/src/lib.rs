//! Parity, conformance and end-to-end tests
