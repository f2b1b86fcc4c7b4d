//! Directors, real servers and clients in network namespaces, for the demo, the tests and the benchmarks.
