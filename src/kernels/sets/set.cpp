// The one thing of a set that can be seen from outside. REALM_KERNEL_SET is its name, such as realm_kernel_set_haswell.
#include "kernels/kernel_set.h"
#include "kernels/sets/attention.h"
#include "kernels/sets/multiply.h"

extern "C" {
extern const realm::kernels::KernelSet REALM_KERNEL_SET;
constinit const realm::kernels::KernelSet REALM_KERNEL_SET{
    .attention_work_bytes = realm::kernels::attention_work_bytes,
    .attend = realm::kernels::attend,
    .packed_bytes = realm::kernels::packed_bytes,
    .pack_weights = realm::kernels::pack_weights,
    .multiply_work_bytes = realm::kernels::multiply_work_bytes,
    .multiply = realm::kernels::multiply,
};
}
