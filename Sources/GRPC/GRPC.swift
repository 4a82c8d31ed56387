/// gRPC and HTTP/1.1 on one port, and the client of the same protocol.
///
/// One `ChannelHandler` per connection stands around one nghttp2 session. Bytes that a socket
/// brings go through `nghttp2_session_mem_recv`; whole messages are collected per event loop and
/// handed to the loop's `RPCLoopService` as one batch at the end of the loop's tick. Answers are
/// written into their stream's output and leave with one write and one flush per connection at
/// the end of the tick in which they were given. There is no channel, task, promise or async hop
/// per stream: at a few microseconds a request each of those would be most of the cost.
///
/// ```
///   socket ─▶ [TLS slot] ─▶ ProtocolDetector ─┬─▶ ServerConnection (HTTP/2) ─▶ RPCLoop ─▶ RPCLoopService
///                                             └─▶ HTTP1Handler ────────────────────────▶ .handleHTTP
/// ```
///
/// What the module promises:
/// - A call ends exactly once: the service answers it (`respond`, `finish`), or the service is told
///   `.cancelled`. After either, sends on its `RPCCall` do nothing; a handle never reaches another call.
/// - Nothing a peer sends traps or makes the process hold more than the configured limits; at worst
///   its own connection ends.
/// - HTTP/2's rules (flow control, stream states, GOAWAY, header compression) are nghttp2's;
///   gRPC's (framing, deadlines, status, cardinality) are here, in values that need no socket.
///
/// It knows nothing of protobuf and of the services it carries.
public enum GRPC {}
