// What CAF tells this process from others by.
//
// CAF 0.17 makes the id of a node of the MAC addresses, the UUID of the root file system in /etc/fstab, and the process
// id. Containers have the same of each on every host (02:42:ac:11:00:02, none, 1), and after each restart: a peer would
// be taken for this process itself, and a process for the one before it. The library calls the function by its name, so
// that the executable's definition takes the place of its own (docs/decisions/0023).
#include "storage/own_tables.hpp"

#include <caf/detail/get_root_uuid.hpp>

namespace caf::detail {

std::string get_root_uuid() { return penstock::storage::make_uuid(); }

} // namespace caf::detail
