// A worker in Java: the listening socket is descriptor 0, which System.inheritedChannel() returns.
//
//     ganger run examples/java/hello-java.toml
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

public class Hello {
    public static void main(String[] args) throws Exception {
        if (!(System.inheritedChannel() instanceof ServerSocketChannel server)) {
            throw new IllegalStateException("descriptor 0 is no listening socket: set protocol = \"stdin\"");
        }
        ExecutorService requests = Executors.newFixedThreadPool(8);
        Thread accepting = Thread.currentThread();
        // SIGTERM runs this: stop accepting, finish what has begun (also what was accepted last), leave.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                server.close();
                accepting.join();
                requests.shutdown();
                requests.awaitTermination(20, TimeUnit.SECONDS);
            } catch (IOException | InterruptedException leaving) {
                // The process ends either way.
            }
        }));
        try {
            while (true) {
                Socket client = server.accept().socket();
                requests.execute(() -> answer(client));
            }
        } catch (ClosedChannelException stopped) {
            // The shutdown hook closed it.
        }
    }

    static void answer(Socket client) {
        try (client) {
            client.setSoTimeout(10_000);
            var head = new BufferedReader(new InputStreamReader(client.getInputStream(), StandardCharsets.US_ASCII));
            for (String line = head.readLine(); line != null && !line.isEmpty();) {
                line = head.readLine();
            }
            String worker = System.getenv().getOrDefault("GANGER_WORKER", "-");
            String body = "hello from Java, worker " + worker + ", pid " + ProcessHandle.current().pid() + "\n";
            String reply = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + body.length() + "\r\n\r\n" + body;
            client.getOutputStream().write(reply.getBytes(StandardCharsets.US_ASCII));
        } catch (IOException gone) {
            // The client left.
        }
    }
}
