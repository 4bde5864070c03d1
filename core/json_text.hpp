// JSON text, written by appending.
#pragma once

#include <string>
#include <string_view>

namespace penstock {

/// "text" with what JSON wants escaped; what is no UTF-8 becomes U+FFFD.
void append_json_string(std::string& to, std::string_view text);

} // namespace penstock
