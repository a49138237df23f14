/* radload: closed-loop RADIUS load generator, one thread.
 *
 * radload -P PORT -m auth|start|interim|later|stop [-s SECRET] [-n REQUESTS] [-w WINDOW] [-u USERS] [-p PASSWORD] [-k RUN] [-x SECONDS] [-S]
 *
 * Keeps WINDOW requests in flight until REQUESTS are answered. Subscriber i is u%06ld with password p%06ld (or PASSWORD), and
 * calls from 02:00:xx:xx:xx:xx. Access-Requests carry Message-Authenticator and go to subscribers at random, with -S in
 * order; accounting goes through them in order, `interim` is a session's first Interim-Update and `later` its second. Every answer's authenticator is checked. Prints one JSON object.
 */
#define _GNU_SOURCE
#define OPENSSL_SUPPRESS_DEPRECATED
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/hmac.h>
#include <openssl/md5.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ACCESS_ACCEPT = 2, ACCOUNTING_RESPONSE = 5, IDS = 256, MAX_SOCKETS = 16, PACKET = 1024, MAX_TRIES = 3 };
enum { AUTH, START, INTERIM, LATER, STOP };
static const char *MODES[] = {"auth", "start", "interim", "later", "stop"};
static const double RETRY_SECONDS = 2.0;

typedef struct {
	int used, length, tries;
	double first_sent, last_sent;
	unsigned char authenticator[16];
	unsigned char packet[PACKET];
} Request;

static const char *secret = "testing123", *password, *run = "r";
static int mode = AUTH, in_order;
static long users = 100000;
static uint32_t began;
static uint64_t random_state = 88172645463325252ULL;

static double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t random_number(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

static unsigned char *put(unsigned char *at, int type, const void *value, int length)
{
	*at++ = type;
	*at++ = length + 2;
	memcpy(at, value, length);
	return at + length;
}

static unsigned char *put_text(unsigned char *at, int type, const char *text) { return put(at, type, text, strlen(text)); }

static unsigned char *put_number(unsigned char *at, int type, uint32_t number)
{
	number = htonl(number);
	return put(at, type, &number, 4);
}

/* User-Password, RFC 2865 5.2; up to 16 octets. */
static unsigned char *put_password(unsigned char *at, const char *plain, const unsigned char *authenticator)
{
	unsigned char input[128], hidden[16], padded[16] = {0};
	size_t length = strlen(secret);
	memcpy(padded, plain, strnlen(plain, 16));
	memcpy(input, secret, length);
	memcpy(input + length, authenticator, 16);
	MD5(input, length + 16, hidden);
	for (int i = 0; i < 16; i++)
		hidden[i] ^= padded[i];
	return put(at, 2, hidden, 16);
}

static void build(Request *request, int id, long sequence)
{
	unsigned char *packet = request->packet, *at = packet + 20, *signature = NULL, zeros[16] = {0};
	long user = mode == AUTH && !in_order ? (long)(random_number() % users) : sequence % users;
	char text[64];

	packet[0] = mode == AUTH ? 1 : 4;
	packet[1] = id;
	memset(packet + 4, 0, 16);
	if (mode == AUTH) {
		uint64_t noise[2] = {random_number(), random_number()};
		memcpy(packet + 4, noise, 16);
		memcpy(request->authenticator, noise, 16);
		signature = at + 2;
		at = put(at, 80, zeros, 16);
	}
	snprintf(text, sizeof text, "u%06ld", user);
	at = put_text(at, 1, text);
	if (mode == AUTH) {
		snprintf(text, sizeof text, "p%06ld", user);
		at = put_password(at, password ? password : text, request->authenticator);
	}
	at = put_number(at, 4, 0x7f000001);
	at = put_number(at, 5, sequence % 4000000);
	at = put_number(at, 61, 15);
	at = put_number(at, 6, 2);
	at = put_number(at, 7, 1);
	snprintf(text, sizeof text, "ether1-vlan%ld", sequence % 4000);
	at = put_text(at, 87, text);
	snprintf(text, sizeof text, "02:00:%02lX:%02lX:%02lX:%02lX", user >> 24 & 255, user >> 16 & 255, user >> 8 & 255, user & 255);
	at = put_text(at, 31, text);
	at = put_text(at, 30, "pppoe-bras1");
	if (mode != AUTH) {
		int step = mode - START;
		at = put_number(at, 40, mode == START ? 1 : mode == STOP ? 2 : 3);
		snprintf(text, sizeof text, "%s-%08ld", run, sequence);
		at = put_text(at, 44, text);
		at = put_number(at, 8, 0x0a000001 + user);
		at = put_number(at, 45, 1);
		at = put_number(at, 41, 0);
		at = put_number(at, 55, began + step * 300);
		if (step) {
			at = put_number(at, 46, step * 300);
			at = put_number(at, 42, step * 1000003 + user);
			at = put_number(at, 43, step * 7000003 + user);
			at = put_number(at, 52, 0);
			at = put_number(at, 53, step);
			at = put_number(at, 47, step * 1000);
			at = put_number(at, 48, step * 7000);
		}
		if (mode == STOP)
			at = put_number(at, 49, 1);
	}
	request->length = at - packet;
	packet[2] = request->length >> 8;
	packet[3] = request->length;
	if (mode == AUTH) {
		unsigned int length = 16;
		HMAC(EVP_md5(), secret, strlen(secret), packet, request->length, signature, &length);
	} else {
		memcpy(at, secret, strlen(secret));
		MD5(packet, request->length + strlen(secret), request->authenticator);
		memcpy(packet + 4, request->authenticator, 16);
	}
}

/* A packet that the kernel does not take is one that got lost: it is sent again when its time is up. */
static void transmit(int socket, const Request *request)
{
	if (send(socket, request->packet, request->length, 0) < 0)
		return;
}

static int authentic(unsigned char *answer, int length, const Request *request)
{
	unsigned char claimed[16], right[16];
	memcpy(claimed, answer + 4, 16);
	memcpy(answer + 4, request->authenticator, 16);
	memcpy(answer + length, secret, strlen(secret));
	MD5(answer, length + strlen(secret), right);
	return memcmp(claimed, right, 16) == 0;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int option, port = 1812, window = 64, sockets;
	long wanted = 10000, sent = 0, positive = 0, negative = 0, lost = 0, retried = 0, forged = 0, in_flight = 0;
	double most_seconds = 120;

	while ((option = getopt(argc, argv, "P:m:s:n:w:u:p:k:x:S")) > 0)
		switch (option) {
		case 'P': port = atoi(optarg); break;
		case 'm': while (mode < STOP && strcmp(MODES[mode], optarg)) mode++; break;
		case 's': secret = optarg; break;
		case 'n': wanted = atol(optarg); break;
		case 'w': window = atoi(optarg); break;
		case 'u': users = atol(optarg); break;
		case 'p': password = optarg; break;
		case 'k': run = optarg; break;
		case 'x': most_seconds = atof(optarg); break;
		case 'S': in_order = 1; break;
		default: return 2;
		}
	sockets = (window + 127) / 128;
	if (sockets > MAX_SOCKETS)
		return 2;
	began = time(NULL) - 900;
	random_state ^= (uint64_t)getpid() * 2654435761UL + time(NULL);

	int slots = sockets * IDS, head = 0, tail = 0, free_count = slots;
	Request *requests = calloc(slots, sizeof *requests);
	int *free_slots = malloc(slots * sizeof *free_slots);
	float *latencies = malloc(wanted * sizeof *latencies);
	struct pollfd polled[MAX_SOCKETS];
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (int i = 0; i < sockets; i++) {
		int size = 4 << 20;
		polled[i].fd = socket(AF_INET, SOCK_DGRAM, 0);
		polled[i].events = POLLIN;
		setsockopt(polled[i].fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
		if (connect(polled[i].fd, (void *)&server, sizeof server))
			return 1;
	}
	for (int id = 0; id < IDS; id++) /* an id comes round again as late as can be */
		for (int i = 0; i < sockets; i++)
			free_slots[tail++] = i * IDS + id;
	tail = 0;

	double start = seconds_now(), scanned = start, now = start;
	while (positive + negative + lost < wanted && (now = seconds_now()) - start < most_seconds) {
		while (in_flight < window && sent < wanted && free_count) {
			int slot = free_slots[head];
			Request *request = &requests[slot];
			head = (head + 1) % slots;
			free_count--;
			build(request, slot % IDS, sent++);
			request->used = request->tries = 1;
			request->first_sent = request->last_sent = seconds_now();
			transmit(polled[slot / IDS].fd, request);
			in_flight++;
		}
		poll(polled, sockets, 20);
		for (int i = 0; i < sockets; i++) {
			unsigned char answer[4096 + 128];
			int length;
			if (!(polled[i].revents & POLLIN))
				continue;
			while ((length = recv(polled[i].fd, answer, 4096, MSG_DONTWAIT)) >= 20) {
				int slot = i * IDS + answer[1], code = answer[0];
				Request *request = &requests[slot];
				if (!request->used)
					continue;
				if (!authentic(answer, length, request)) {
					forged++;
					continue;
				}
				latencies[positive + negative] = seconds_now() - request->first_sent;
				if (code == ACCESS_ACCEPT || code == ACCOUNTING_RESPONSE)
					positive++;
				else
					negative++;
				request->used = 0;
				in_flight--;
				free_slots[tail] = slot;
				tail = (tail + 1) % slots;
				free_count++;
			}
		}
		if ((now = seconds_now()) - scanned < 0.1)
			continue;
		scanned = now;
		for (int slot = 0; slot < slots; slot++) {
			Request *request = &requests[slot];
			if (!request->used || now - request->last_sent < RETRY_SECONDS)
				continue;
			if (request->tries++ < MAX_TRIES) {
				retried++;
				request->last_sent = now;
				transmit(polled[slot / IDS].fd, request);
				continue;
			}
			lost++;
			request->used = 0;
			in_flight--;
			free_slots[tail] = slot;
			tail = (tail + 1) % slots;
			free_count++;
		}
	}
	long answered = positive + negative;
	double seconds = seconds_now() - start;
	qsort(latencies, answered, sizeof *latencies, by_size);
	printf("{\"mode\": \"%s\", \"positive\": %ld, \"negative\": %ld, \"lost\": %ld, \"retried\": %ld, \"forged\": %ld, "
	       "\"seconds\": %.3f, \"rate\": %.1f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n",
	       MODES[mode], positive, negative, lost, retried, forged, seconds, answered / seconds,
	       answered ? latencies[answered / 2] * 1e3 : 0.0, answered ? latencies[answered * 99 / 100] * 1e3 : 0.0);
	return 0;
}
