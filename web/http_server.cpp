#include "web/http_server.hpp"

#include "core/assert.hpp"
#include "web/http_text.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::web {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = boost::asio::ip::tcp;
using beast::error_code;

namespace {

constexpr std::uint32_t header_bytes_max = 8 * 1024;
constexpr std::uint64_t body_bytes_max = std::uint64_t{1024} * 1024;
constexpr std::size_t linger_bytes_max = 2 * body_bytes_max;
constexpr std::chrono::seconds linger_time{1};

struct route_entry {
  std::string path;
  bool prefix = false;
  std::map<std::string, http_handler> by_method;
};

/// The handlers, by path and method.
class router {
public:
  void add(const std::string& method, const std::string& path, bool prefix, http_handler handler) {
    for (auto& entry : entries_)
      if (entry.path == path && entry.prefix == prefix) {
        entry.by_method[method] = std::move(handler);
        return;
      }
    entries_.push_back({path, prefix, {{method, std::move(handler)}}});
  }

  http_response answer(const http_request& request) const {
    const auto* entry = find(request.path);
    if (!entry)
      return json_error(404, "no such path");
    const auto handler = entry->by_method.find(request.method);
    if (handler == entry->by_method.end())
      return not_allowed(*entry);
    try {
      return handler->second(request);
    } catch (const std::exception& failure) {
      return json_error(500, failure.what());
    }
  }

private:
  const route_entry* find(const std::string& path) const {
    const route_entry* best = nullptr;
    for (const auto& entry : entries_) {
      if (!entry.prefix && entry.path == path)
        return &entry;
      if (entry.prefix && path.starts_with(entry.path) && (!best || best->path.size() < entry.path.size()))
        best = &entry;
    }
    return best;
  }

  static http_response not_allowed(const route_entry& entry) {
    std::string allowed;
    for (const auto& [method, handler] : entry.by_method)
      allowed += (allowed.empty() ? "" : ", ") + method + (method == "GET" ? ", HEAD" : "");
    auto response = json_error(405, "method not allowed; use " + allowed);
    response.headers["Allow"] = allowed;
    return response;
  }

  std::vector<route_entry> entries_;
};

struct shared_state {
  http_options options;
  router routes;
  // Of the server's thread. Counted apart: those who are refused must not keep the next one out.
  std::size_t served = 0;
  std::size_t refused = 0;
};

/// The error that an unreadable request is answered with; nothing where the peer is just gone.
std::optional<http_response> answer_to(error_code failure) {
  if (failure == http::error::header_limit)
    return json_error(431, "the header is larger than 8 KiB");
  if (failure == http::error::body_limit)
    return json_error(413, "the body is larger than 1 MiB");
  if (failure == http::error::end_of_stream || failure == http::error::partial_message)
    return std::nullopt;
  if (failure.category() == make_error_code(http::error::bad_method).category())
    return json_error(400, "not an HTTP request: " + failure.message());
  return std::nullopt;
}

/// One connection: reads a request, answers it, and again. Kept alive by its pending operation.
class session : public std::enable_shared_from_this<session> {
public:
  session(tcp::socket socket, std::shared_ptr<shared_state> shared)
    : stream_(std::move(socket)), shared_(std::move(shared)),
      refused_(shared_->served >= shared_->options.connections_max) {
    ++(refused_ ? shared_->refused : shared_->served);
  }

  ~session() { --(refused_ ? shared_->refused : shared_->served); }
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  void start() {
    if (refused_)
      send(json_error(503, "too many connections"), false);
    else
      read();
  }

private:
  using parser = http::request_parser<http::string_body>;
  using message = http::response<http::string_body>;

  void read() {
    parser_.emplace();
    parser_->header_limit(header_bytes_max);
    parser_->body_limit(body_bytes_max);
    stream_.expires_after(shared_->options.idle_timeout);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](error_code failure, std::size_t) { self->on_read(failure); });
  }

  void on_read(error_code failure) {
    if (!failure)
      return serve();
    if (auto answer = answer_to(failure))
      send(std::move(*answer), false);
  }

  void serve() {
    const auto& received = parser_->get();
    http_request request;
    request.method = std::string{received.method_string()};
    head_ = request.method == "HEAD";
    if (head_)
      request.method = "GET";
    for (const auto& field : received) {
      auto& value = request.headers[lower_case(view(field.name_string()))];
      value += (value.empty() ? "" : ", ") + std::string{field.value()};
    }
    // A second Host, or none, would make what same_origin sees something else than what others see.
    if (received.count(http::field::host) != 1 && received.version() >= 11)
      return send(json_error(400, "exactly one Host header is needed"), false);
    if (!parse_target(view(received.target()), request.path, request.query))
      return send(json_error(400, "the path has a malformed escape"), false);
    request.body = std::move(parser_->get().body());
    send(shared_->routes.answer(request), received.keep_alive());
  }

  void send(http_response response, bool keep_alive) {
    message_ = message{};
    message_.version(11);
    message_.result(response.status);
    message_.set(http::field::content_type, response.content_type);
    message_.set(http::field::cache_control, "no-store");
    message_.set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : response.headers)
      message_.set(name, value);
    message_.body() = std::move(response.body);
    message_.prepare_payload();
    message_.keep_alive(keep_alive);
    serializer_.emplace(message_);
    stream_.expires_after(shared_->options.idle_timeout);
    auto done = [self = shared_from_this(), keep_alive](error_code failure, std::size_t) {
      if (!failure)
        keep_alive ? self->read() : self->close();
    };
    if (std::exchange(head_, false))
      http::async_write_header(stream_, *serializer_, std::move(done));
    else
      http::async_write(stream_, *serializer_, std::move(done));
  }

  // Closing with unread input would reset the connection, and the peer might never see the answer.
  void close() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.expires_after(linger_time);
    discard(0);
  }

  void discard(std::size_t so_far) {
    if (so_far > linger_bytes_max)
      return;
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(std::size_t{16} * 1024),
                            [self = shared_from_this(), so_far](error_code failure, std::size_t count) {
                              if (!failure)
                                self->discard(so_far + count);
                            });
  }

  static std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

  beast::tcp_stream stream_;
  std::shared_ptr<shared_state> shared_;
  const bool refused_;
  beast::flat_buffer buffer_{header_bytes_max + 64 * 1024};
  std::optional<parser> parser_;
  message message_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  bool head_ = false;
};

error cannot_listen(const config::address& address, const error_code& why) {
  return {why == asio::error::address_in_use ? errc::address_in_use : errc::configuration,
          "cannot listen on " + authority(address.host, address.port) + ": " + why.message()};
}

} // namespace

struct http_server::impl {
  std::shared_ptr<shared_state> shared = std::make_shared<shared_state>();
  config::address bound;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  asio::steady_timer pause{io};
  std::thread thread;

  void accept() {
    acceptor.async_accept([this](error_code failure, tcp::socket socket) {
      if (failure)
        return accept_later();
      // Beyond this even a polite refusal costs too many sockets.
      if (shared->refused < shared->options.connections_max)
        std::make_shared<session>(std::move(socket), shared)->start();
      accept();
    });
  }

  // Out of file descriptors, say: accepting again at once would spin.
  void accept_later() {
    pause.expires_after(std::chrono::milliseconds{100});
    pause.async_wait([this](error_code cancelled) {
      if (!cancelled)
        accept();
    });
  }

  error_code listen(const config::address& address) {
    error_code failure;
    const auto found =
      tcp::resolver{io}.resolve(address.host, std::to_string(address.port), tcp::resolver::passive, failure);
    if (failure)
      return failure;
    const tcp::endpoint endpoint = *found.begin();
    acceptor.open(endpoint.protocol(), failure);
    if (!failure)
      acceptor.set_option(tcp::acceptor::reuse_address{true}, failure);
    if (!failure)
      acceptor.bind(endpoint, failure);
    if (!failure)
      acceptor.listen(asio::socket_base::max_listen_connections, failure);
    if (!failure)
      bound = {address.host, acceptor.local_endpoint(failure).port()};
    return failure;
  }
};

http_server::http_server(http_options options) : impl_(std::make_unique<impl>()) { impl_->shared->options = options; }

http_server::~http_server() { stop(); }

void http_server::route(const std::string& method, const std::string& path, http_handler handler) {
  assert_that(!impl_->thread.joinable(), "routes are added before the server starts");
  impl_->shared->routes.add(method, path, false, std::move(handler));
}

void http_server::route_prefix(const std::string& method, const std::string& prefix, http_handler handler) {
  assert_that(!impl_->thread.joinable(), "routes are added before the server starts");
  impl_->shared->routes.add(method, prefix, true, std::move(handler));
}

result<void> http_server::start(const config::address& address) {
  assert_that(!impl_->acceptor.is_open(), "the server starts once");
  if (const auto failure = impl_->listen(address)) {
    error_code ignored;
    impl_->acceptor.close(ignored);
    return cannot_listen(address, failure);
  }
  impl_->accept();
  impl_->thread = std::thread{[state = impl_.get()] { state->io.run(); }};
  return {};
}

const config::address& http_server::address() const { return impl_->bound; }

void http_server::stop() {
  impl_->io.stop();
  if (impl_->thread.joinable())
    impl_->thread.join();
  error_code ignored;
  impl_->acceptor.close(ignored);
}

bool same_origin(const http_request& request, const config::address& address) {
  const auto host_header = request.headers.find("host");
  if (host_header == request.headers.end())
    return false;
  const auto host = parse_authority(host_header->second, 80);
  if (!host || host->port != address.port)
    return false;
  error_code not_an_ip;
  const auto bound = asio::ip::make_address(address.host, not_an_ip);
  const bool wildcard = !not_an_ip && bound.is_unspecified();
  const bool loopback = (!not_an_ip && bound.is_loopback()) || lower_case(address.host) == "localhost";
  const bool itself = host->host == lower_case(address.host);
  const bool local_name = host->host == "localhost" && (wildcard || loopback);
  error_code host_is_a_name;
  asio::ip::make_address(host->host, host_is_a_name);
  const bool any_ip = wildcard && !host_is_a_name;
  if (!itself && !local_name && !any_ip)
    return false;
  const auto origin = request.headers.find("origin");
  if (origin == request.headers.end())
    return true;
  constexpr std::string_view scheme = "http://";
  const std::string from = lower_case(origin->second);
  if (!from.starts_with(scheme))
    return false;
  const auto origin_host = parse_authority(std::string_view{from}.substr(scheme.size()), 80);
  return origin_host && *origin_host == *host;
}

} // namespace penstock::web
