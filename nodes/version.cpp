#include "nodes/version.hpp"

namespace penstock::nodes {

std::string_view version() noexcept { return PENSTOCK_VERSION; }

} // namespace penstock::nodes
