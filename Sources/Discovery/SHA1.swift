import COpenSSL

/// SHA-1, as OpenSSL's EVP interface computes it. It names members here; nothing secret depends on it.
enum SHA1 {
    /// The first eight bytes, big endian, of the digest of `bytes`.
    static func prefix64(of bytes: [UInt8]) -> UInt64 {
        var digest = [UInt8](repeating: 0, count: 20)
        var length: UInt32 = 0
        let succeeded = EVP_Digest(bytes, bytes.count, &digest, &length, EVP_sha1(), nil)
        precondition(succeeded == 1 && length == 20, "OpenSSL refused to compute a SHA-1 digest")
        return digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
