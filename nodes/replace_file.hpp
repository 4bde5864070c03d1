// A text file that is replaced as a whole: whoever reads it sees the former text or the new one.
#pragma once

#include "core/result.hpp"

#include <filesystem>
#include <string>

namespace penstock::nodes {

result<std::string> read_text(const std::filesystem::path& file);

/// Puts `after` in place of `before`; fails where the file has another text by now. Mode and owner stay, and so does a
/// symbolic link to it. On the disk when it returns.
result<void> replace_file(const std::filesystem::path& file, const std::string& before, const std::string& after);

} // namespace penstock::nodes
