// Changes to the text of a configuration that leave everything else as it is, byte for byte: comments, blank lines,
// indentation. Text in, text out.
//
// What is written in flow style ({...}, and so all of JSON) is not edited: errc::unsupported, and a person does it.
#pragma once

#include "core/result.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace penstock::config {

/// Puts the section `publish.NAME` behind the others of `publish`. `lines`: its content without line ends; what is
/// nested is indented by two blanks a level, and gets the indentation of the file.
result<std::string> add_publish(std::string_view text, const std::string& name, const std::vector<std::string>& lines);

/// Takes the section's lines out, and the comments inside it; those above it stay.
result<std::string> remove_publish(std::string_view text, const std::string& name);

} // namespace penstock::config
