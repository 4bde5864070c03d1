// `penstock demo`: the whole of it on one machine, with what a newcomer wants to see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>

namespace penstock::nodes {

struct demo_options {
  std::uint64_t devices = 5'000;
  std::uint64_t rate = 20'000; ///< messages/s
  std::uint64_t seconds = 20;  ///< how long the devices publish
  bool kill = true;            ///< a kill -9 in the middle
  std::uint64_t nodes = 1;     ///< more than one: a cluster
  std::filesystem::path data;  ///< empty: a temporary folder, deleted at the end
};

/// Starts nodes, mosquitto and a load as processes of their own, shows the nodes' status once a second, kills a node,
/// starts it again (of a cluster: another in its place), and ends with the verdict of `verify`: its exit code.
int demo(const demo_options& options, std::ostream& out, std::ostream& err);

} // namespace penstock::nodes
