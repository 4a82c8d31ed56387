/* The same with RocksDB: puts numbered keys for ever, with or without a synced write-ahead log, or says how many of
 * them from 1 on are there. Small memtables make it flush, rename and delete files meanwhile.
 *
 *   rocks DIRECTORY synced|unsynced|count
 */
#include <rocksdb/c.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void stop_at(char *error) {
    if (!error) return;
    fprintf(stderr, "rocks: %s\n", error);
    _Exit(1);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    char *error = NULL;
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_write_buffer_size(options, 64 << 10);
    rocksdb_t *database = rocksdb_open(options, arguments[1], &error);
    stop_at(error);
    char key[32], value[800];
    memset(value, 'v', sizeof value);
    if (strcmp(arguments[2], "count") == 0) {
        rocksdb_readoptions_t *read = rocksdb_readoptions_create();
        uint64_t number = 0;
        for (;; number++) {
            size_t length;
            snprintf(key, sizeof key, "%020llu", (unsigned long long)(number + 1));
            char *found = rocksdb_get(database, read, key, strlen(key), &length, &error);
            stop_at(error);
            if (!found) break;
            rocksdb_free(found);
        }
        printf("%llu\n", (unsigned long long)number);
        rocksdb_close(database);
        return 0;
    }
    rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(write, strcmp(arguments[2], "synced") == 0);
    for (uint64_t number = 1;; number++) {
        snprintf(key, sizeof key, "%020llu", (unsigned long long)number);
        rocksdb_put(database, write, key, strlen(key), value, sizeof value, &error);
        stop_at(error);
        printf("%llu\n", (unsigned long long)number);
        fflush(stdout);
    }
}
