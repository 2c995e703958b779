// For machines with one set of CPU kernels in the binary.
extern "C" const char* realm_cpu_variant_name(void) { return "native"; }
