import Agent
import AgentAPI
import EtcdClient
import Foundation
import GRPC
import Glibc
import LaunchModel
import NIOCore
import NIOPosix
import TestSupport
import Testing

extension WithProcesses {
    @Suite struct LogTests {
        @Test func linesAreReadAndFollowedThroughARestartOfTheComponentAndFromACursor() async throws {
            try await Scene.with { scene in
                let begun = Date().timeIntervalSince1970
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(
                    Scene.shell(
                        "echo one; echo two >&2; until [ -e \(scene.directory)/go ]; do sleep 0.05; done; rm \(scene.directory)/go; exit 1"
                    ))
                try await scene.reported(.running)
                let record = try NodeRecord(
                    json: try #require(try await scene.client.get(.key(Keys.node(Scene.node))).first).value)
                let address = try EtcdEndpoint(record.agentAddress)
                let client = try await RPCClient.connect(
                    group: MultiThreadedEventLoopGroup.singleton, host: address.host, port: address.port)

                var request = Megam_LogsRequest()
                request.instance = "hello.web.0"
                request.follow = true
                let seen = Shared<[Megam_LogsResponse]>([])
                let following = Task { [request] in
                    for try await response in try call(client, request).messages {
                        let response = try Megam_LogsResponse(serializedBytes: Array(response.readableBytesView))
                        seen.change { $0.append(response) }
                    }
                }
                func texts() -> [String] {
                    seen.value.flatMap(\.lines).map { "\($0.stream) " + String(decoding: $0.text, as: UTF8.self) }
                }
                try await eventually("both lines have come") { texts().count == 2 }
                #expect(Set(texts()) == ["stdout one", "stderr two"])
                let firstTime = try #require(seen.value.first?.lines.first?.timeUnixNano)
                #expect((begun...Date().timeIntervalSince1970).contains(Double(firstTime) / 1e9))
                let cursor = try #require(seen.value.last?.cursor)

                _ = FileManager.default.createFile(atPath: "\(scene.directory)/go", contents: nil)
                try await eventually("the lines of the second attempt have come") { texts().count == 5 }
                #expect(texts()[2] == "agent attempt 1 ended with exit code 1")
                #expect(Set(texts()[3...]) == ["stdout one", "stderr two"])

                request.follow = false
                request.tail = 1
                #expect(try await all(client, request).count == 1)
                request.tail = 3
                #expect(try await all(client, request).filter { $0.stream != .agent }.count == 3)
                request.cursor = cursor
                #expect(try await all(client, request).count == 3)

                request.instance = "hello.web.9"
                request.cursor = Data()
                do {
                    _ = try await all(client, request)
                    Issue.record("an instance that is not here has a log")
                } catch let error as RPCError { #expect(error.code == .notFound) }

                let base = "http://\(record.agentAddress)"
                #expect(try await fetch("\(base)/health") == "{\"health\":\"true\"}\n")
                #expect(try await fetch("\(base)/logs/hello.web.0?tail=2").split(separator: "\n").count == 2)

                // The stream ends with the instance.
                try await scene.unassign()
                try await following.value
                await client.close()
                await agent.stop()
            }
        }

        private func call(_ client: RPCClient, _ request: Megam_LogsRequest) throws -> RPCClientStream {
            let stream = client.stream(path: AgentMethod.logs)
            stream.send(try request.serializedBytes() as [UInt8])
            stream.finish()
            return stream
        }

        private func all(_ client: RPCClient, _ request: Megam_LogsRequest) async throws -> [Megam_LogLine] {
            var lines: [Megam_LogLine] = []
            for try await response in try call(client, request).messages {
                lines += try Megam_LogsResponse(serializedBytes: Array(response.readableBytesView)).lines
            }
            return lines
        }

        private func fetch(_ url: String) async throws -> String {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
            process.arguments = ["-sS", "--max-time", "100", url]
            let pipe = Pipe()
            process.standardOutput = pipe
            try process.run()
            return String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        }
    }
}
