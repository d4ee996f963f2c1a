/*
 * Stops a mounted file system at once, as a power cut does: nothing that was not synced reaches the
 * disk any more, and every later call fails. ext4 and xfs know this request under one number.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_FLUSHING_THE_LOG 2

int main(int count, char **words) {
    uint32_t how = WITHOUT_FLUSHING_THE_LOG;
    int fd = count == 2 ? open(words[1], O_RDONLY | O_DIRECTORY) : -1;
    if (fd < 0 || ioctl(fd, SHUTDOWN, &how) != 0) {
        perror("cut");
        return 1;
    }
    return 0;
}
