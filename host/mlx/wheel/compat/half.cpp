// Accessors of 16-bit elements that mlx-c compiles on Arm only, and that mlx-rs calls everywhere.
#if !defined(__aarch64__)
#include <cstdint>
#include <cstring>

#include "mlx/mlx.h"

namespace {

struct Handle {
  void* array;
};

mlx::core::array& array_of(Handle handle) {
  return *static_cast<mlx::core::array*>(handle.array);
}

// Non-zero tells mlx-c's callers that it failed.
template <class Element>
int item(uint16_t* result, Handle handle) {
  try {
    Element value = array_of(handle).item<Element>();
    std::memcpy(result, &value, sizeof *result);
    return 0;
  } catch (...) {
    return 1;
  }
}

template <class Element>
const uint16_t* data(Handle handle) {
  return reinterpret_cast<const uint16_t*>(array_of(handle).data<Element>());
}

} // namespace

extern "C" {
int mlx_array_item_float16(uint16_t* result, Handle handle) {
  return item<mlx::core::float16_t>(result, handle);
}
int mlx_array_item_bfloat16(uint16_t* result, Handle handle) {
  return item<mlx::core::bfloat16_t>(result, handle);
}
const uint16_t* mlx_array_data_float16(Handle handle) {
  return data<mlx::core::float16_t>(handle);
}
const uint16_t* mlx_array_data_bfloat16(Handle handle) {
  return data<mlx::core::bfloat16_t>(handle);
}
}
#endif
