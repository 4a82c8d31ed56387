/* Appends numbered records to a file for ever and says each number once it takes it for durable: with `synced` after
 * fdatasync, with `unsynced` at once. What lossy.so is proved with.
 *
 *   append FILE synced|unsynced [fsync|fdatasync|o_dsync]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    if (count < 3) return 2;
    int is_synced = strcmp(arguments[2], "synced") == 0;
    const char *way = count > 3 ? arguments[3] : "fdatasync";
    int dsync = is_synced && strcmp(way, "o_dsync") == 0;
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.new", arguments[1]);
    int fd = open(temporary, O_CREAT | O_WRONLY | O_TRUNC | (dsync ? O_DSYNC : 0), 0600);
    /* Half-way through its life the file gets its real name. */
    for (uint64_t number = 1; fd >= 0; number++) {
        if (number == 50 && rename(temporary, arguments[1]) != 0) return 1;
        char record[100];
        memset(record, 'x', sizeof record);
        snprintf(record, sizeof record, "%020llu", (unsigned long long)number);
        if (write(fd, record, sizeof record) != sizeof record) return 1;
        if (is_synced && !dsync && (strcmp(way, "fsync") == 0 ? fsync(fd) : fdatasync(fd)) != 0) return 1;
        printf("%llu\n", (unsigned long long)number);
        fflush(stdout);
    }
    return 1;
}
