import EtcdAPI
import Foundation

/// For people and shell scripts: keys and values as they are, a line each.
struct SimpleFormat: OutputFormat {
    /// Keys and values as `\x` and two digits a byte.
    var isHex = false
    /// Of what `get` found, the values only.
    var showsValuesOnly = false

    func bytes(_ response: Etcdserverpb_RangeResponse) -> [UInt8] {
        response.kvs.flatMap { showsValuesOnly ? line($0.value) : lines($0) }
    }

    func bytes(_ response: Etcdserverpb_PutResponse) -> [UInt8] {
        Array("OK\n".utf8) + (response.hasPrevKv ? lines(response.prevKv) : [])
    }

    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) -> [UInt8] {
        Array("\(response.deleted)\n".utf8) + response.prevKvs.flatMap(lines)
    }

    func bytes(_ response: Etcdserverpb_TxnResponse) -> [UInt8] {
        let answers = response.responses.flatMap { operation -> [UInt8] in
            let answer: [UInt8] =
                switch operation.response {
                case .responseRange(let range): bytes(range)
                case .responsePut(let put): bytes(put)
                case .responseDeleteRange(let deletion): bytes(deletion)
                // txn's grammar has no transactions within the transaction.
                case .responseTxn, nil: []
                }
            return [UInt8(ascii: "\n")] + answer
        }
        return Array((response.succeeded ? "SUCCESS\n" : "FAILURE\n").utf8) + answers
    }

    func bytes(_ response: Etcdserverpb_WatchResponse) -> [UInt8] {
        response.events.flatMap { event in
            Array("\(event.type.name)\n".utf8) + (event.hasPrevKv ? lines(event.prevKv) : []) + lines(event.kv)
        }
    }

    private func lines(_ kv: Mvccpb_KeyValue) -> [UInt8] { line(kv.key) + line(kv.value) }

    private func line(_ bytes: Data) -> [UInt8] {
        (isHex ? QuotedBytes.hex(bytes) : Array(bytes)) + [UInt8(ascii: "\n")]
    }
}
