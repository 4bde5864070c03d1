#include "nodes/status.hpp"

#include "config/config.hpp"
#include "nodes/check.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/run_file.hpp"
#include "telemetry/status_text.hpp"
#include "web/http_client.hpp"

#include <ostream>

namespace penstock::nodes {

int status(const status_options& options, std::ostream& out, std::ostream& err) {
  auto url = options.url;
  if (url.empty()) {
    config::configuration configuration;
    if (!load_or_report(options.config, options.node, configuration, err))
      return exit_configuration;
    const auto running = running_node(configuration);
    if (!running) {
      const auto& name = configuration.cluster ? configuration.node.name : std::string{};
      err << running.error().message << "; start it with: penstock run --config " << options.config.string()
          << (configuration.cluster ? " --node " + (name.empty() ? "NAME" : name) : std::string{}) << '\n';
      return exit_unavailable;
    }
    if (running->http.empty()) {
      err << "node '" << running->node << "' runs without HTTP (`http: off`), so it cannot be asked\n";
      return exit_unavailable;
    }
    url = "http://" + running->http;
  }
  const auto answer = web::http_get(url + "/status");
  if (!answer || answer->status != 200) {
    err << url << ": " << (answer ? "answered " + std::to_string(answer->status) : answer.error().to_string()) << '\n';
    return !answer && answer.error().code == errc::configuration ? exit_usage : exit_unavailable;
  }
  if (options.json) {
    out << answer->body << '\n';
    return exit_done;
  }
  const auto text = telemetry::status_text(answer->body);
  if (!text) {
    err << url << ": " << text.error().to_string() << '\n';
    return exit_unavailable;
  }
  out << *text;
  return exit_done;
}

} // namespace penstock::nodes
