// A supervisor starts its children in order, restarts those that fail, and gives up (which its own supervisor sees as a
// failure) when they fail too often. While it runs it takes, drops and replaces children (child_changes).
#pragma once

#include "actors/directory.hpp"
#include "core/backoff.hpp"
#include "core/restart_budget.hpp"
#include "messages/messages.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace penstock::actors {

/// Who is restarted when a child fails.
enum class restart_strategy : std::uint8_t {
  one_for_one,  ///< that child
  one_for_all,  ///< all of them
  rest_for_one, ///< that child and those declared after it
};

/// Which ends of a child are failures.
enum class restart_rule : std::uint8_t {
  permanent, ///< every end that was not asked for
  transient, ///< every end but a normal one
  temporary, ///< none: it is never restarted
};

struct child_spec {
  std::string name; ///< unique in the node: "telemetry/ingestor/0"; in the log, on the board, in the directory
  std::string kind; ///< "ingestor"
  std::function<caf::actor(caf::actor_system&)> start; ///< called for every start
  restart_rule restart = restart_rule::permanent;
  std::chrono::milliseconds stop_timeout{20'000}; ///< asked to end, it is killed after this
};

/// What is to become of some of a supervisor's children; sent to it as a message. A child that has the name is asked to
/// end, as at the end of the supervisor; only when it has ended the one of `spec` is started.
struct child_changes {
  struct change {
    std::string name;
    std::optional<child_spec> spec; ///< nothing: nobody takes its place
  };
  std::vector<change> children; ///< started in this order, as far as nobody has to end before
  /// Runs in the supervisor when all of it is done; never where the supervisor ends before.
  std::function<void()> on_done;
};
using child_changes_ptr = std::shared_ptr<const child_changes>; ///< never leaves the process

struct supervisor_config {
  std::string name;
  restart_strategy strategy = restart_strategy::one_for_one;
  bool stop_in_reverse = false;  ///< at the end: one after the other, last first; otherwise all together
  std::size_t restarts_max = 10; ///< within `window`; one more escalates
  std::chrono::milliseconds window{60'000};
  std::chrono::milliseconds backoff_min{50}; ///< the first restart in a window is immediate
  std::chrono::milliseconds backoff_max{5'000};
  /// Runs in the supervisor after each start of a child; `find` gives the living children. Here newcomers are
  /// announced.
  using start_handler =
    std::function<void(const std::string& child, const std::function<caf::actor(const std::string&)>& find)>;
  start_handler on_start;

  /// Empty, or what is wrong.
  std::string validate() const;
};

struct supervisor_state {
  static inline const char* name = "supervisor";

  supervisor_state() = default;
  supervisor_state(const supervisor_state&) = delete;
  supervisor_state& operator=(const supervisor_state&) = delete;
  /// Runs for every way to end, kill included: children never outlive their supervisor.
  ~supervisor_state();

  struct child {
    child_spec spec;
    caf::actor handle;                        ///< null: not running
    bool stopping = false;                    ///< its end was asked for
    bool wanted = true;                       ///< false: ended for good
    bool leaving = false;                     ///< by child_changes: when it has ended it is forgotten
    std::optional<child_spec> successor = {}; ///< of one that leaves
  };

  caf::event_based_actor* self = nullptr;
  supervisor_config config;
  actor_directory* directory = nullptr;
  std::vector<child> children;
  std::vector<child_changes_ptr> changing; ///< not done yet
  std::unique_ptr<restart_budget> budget;
  std::unique_ptr<backoff> waits;
  bool restarting = false; ///< a restart is due: waits for children to end, or for the backoff
  bool backing_off = false;
  bool halting = false;

  void start(child& which);
  void stop(child& which);
  void start_missing();
  void on_down(const caf::down_msg& down);
  void fail(child& which, const caf::error& reason);
  void change(const child_changes_ptr& changes);
  void replace_ended();
  void halt();
  void stop_next();
};

/// Ends with user_shutdown when asked to, after its children; with an error when the restart budget is overspent.
caf::behavior supervisor(caf::stateful_actor<supervisor_state>* self, supervisor_config config,
                         std::vector<child_spec> children, actor_directory* directory);

/// Sends a supervisor child_changes: it starts these, or has them end.
void start_children(const caf::actor& supervisor, std::vector<child_spec> children);
void stop_children(const caf::actor& supervisor, const std::vector<child_spec>& children,
                   std::function<void()> on_done);

} // namespace penstock::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::actors::child_changes_ptr)
