// `std::format` from libfmt, where the standard library has none.
#pragma once
#include <version>
#ifndef __cpp_lib_format
#define FMT_HEADER_ONLY
#include <fmt/format.h>
#include <string>
#include <utility>

namespace std {
template <class... Arguments>
string format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  return fmt::format(text, std::forward<Arguments>(arguments)...);
}
} // namespace std
#endif
