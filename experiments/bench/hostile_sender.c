/* Hostile datagrams of several kinds for a service of the invocation protocol, at a steady rate, from one address.
 * Usage: hostile_sender FROM TO PORT SERVICE COUNT RATE. The same count makes the same datagrams. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../native/layout.h"
#include "../native/hostile.h"

enum { HEADER = STEERING_INVOCATION_BYTES, SOCKETS = 8, SLICE = 32, EXECUTED_ONE_IN = 100 };
enum kind { GARBAGE, OTHER_VERSION, FIRST_OF_MANY, CONTRADICTING, NO_SERVICE, REPEATED, NEW_CLIENT, KINDS };

#define FIELD(data, field, value, bytes) put((data) + BYTE_OF(invocation, field), (value), (bytes))

static uint32_t request(uint8_t *data, uint64_t service, uint64_t client, uint64_t id, uint64_t count, uint64_t total)
{
    memset(data, 0, HEADER);
    FIELD(data, magic, STEERING_INVOCATION_MAGIC, 2);
    FIELD(data, version, STEERING_INVOCATION_VERSION, 1);
    FIELD(data, type, STEERING_INVOCATION_REQUEST, 1);
    FIELD(data, service_id, service, 2);
    FIELD(data, client_id, client, 4);
    FIELD(data, request_id, id, 8);
    FIELD(data, fragment_count, count, 2);
    FIELD(data, total_length, total, 4);
    return HEADER;
}

static uint32_t make(uint64_t *state, uint64_t number, uint64_t service, uint8_t *data)
{
    uint64_t random = next(state);
    uint32_t length;
    switch (number % KINDS) {
    case GARBAGE:
        length = below(state, 1500);
        for (uint32_t at = 0; at < length; at++)
            data[at] = (uint8_t)next(state);
        return length;
    case OTHER_VERSION:
        length = request(data, service, random, number, 1, 0);
        FIELD(data, version, STEERING_INVOCATION_VERSION + 1, 1);
        return length;
    case FIRST_OF_MANY:
        length = request(data, service, random, number, 0xffff, 0xffff);
        data[length] = 'x';
        return length + 1;
    case CONTRADICTING:
        length = request(data, service, 1, number / 1000, 2 + (random & 0xff), 10 * (2 + (random & 0xff)));
        return length + 10;
    case NO_SERVICE:
        return request(data, service + 1, random, number, 1, 0);
    case REPEATED:
        length = request(data, service, 2, 1, 1, 3);
        memcpy(data + length, "big", 3);
        return length + 3;
    default:
        /* Few of them: what they cost is execution. The others name a client anew for a request of many parts. */
        if (number / KINDS % EXECUTED_ONE_IN == 0)
            return request(data, service, random, random >> 3, 1, 0);
        length = request(data, service, random, random >> 3, 3, 3000);
        return length + 1000;
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: %s FROM TO PORT SERVICE COUNT RATE\n", argv[0]);
        return 2;
    }
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    uint64_t service = strtoull(argv[4], NULL, 10), count = strtoull(argv[5], NULL, 10), state = 1;
    double rate = strtod(argv[6], NULL), start = seconds();
    int sockets[SOCKETS];
    static uint8_t data[ROOM];
    inet_pton(AF_INET, argv[1], &from.sin_addr);
    inet_pton(AF_INET, argv[2], &to.sin_addr);
    to.sin_port = htons((uint16_t)atoi(argv[3]));
    for (int at = 0; at < SOCKETS; at++) {
        sockets[at] = socket(AF_INET, SOCK_DGRAM, 0);
        if (sockets[at] < 0 || bind(sockets[at], (struct sockaddr *)&from, sizeof from) < 0) {
            perror(argv[1]);
            return 1;
        }
    }
    for (uint64_t number = 0; number < count; number++) {
        if (number % SLICE == 0) {
            double early = start + (double)number / rate - seconds();
            if (early > 0)
                usleep((useconds_t)(1e6 * early));
        }
        uint32_t length = make(&state, number, service, data);
        sendto(sockets[number / KINDS % SOCKETS], data, length, 0, (struct sockaddr *)&to, sizeof to);
    }
    printf("%.3f\n", seconds() - start);
    return 0;
}
