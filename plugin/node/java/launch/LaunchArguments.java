import java.nio.file.Files;
import java.nio.file.Path;
import org.elasticsearch.bootstrap.ServerArgs;
import org.elasticsearch.common.io.stream.OutputStreamStreamOutput;
import org.elasticsearch.common.settings.KeyStoreWrapper;
import org.elasticsearch.common.settings.Settings;

/**
 * Writes the serialised {@link ServerArgs} that the server reads from its standard input.
 *
 * <p>Usage: {@code LaunchArguments CONFIG_DIR LOGS_DIR KEY=VALUE...}; the bytes go to standard output.
 */
public class LaunchArguments {
    public static void main(String[] arguments) throws Exception {
        Path config = Path.of(arguments[0]);
        Settings.Builder settings = Settings.builder();
        for (int i = 2; i < arguments.length; i++) {
            int equals = arguments[i].indexOf('=');
            settings.put(arguments[i].substring(0, equals), arguments[i].substring(equals + 1));
        }
        if (Files.exists(config.resolve("elasticsearch.keystore")) == false) {
            KeyStoreWrapper.create().save(config, new char[0]);
        }
        KeyStoreWrapper keystore = KeyStoreWrapper.load(config);
        keystore.decrypt(new char[0]);
        ServerArgs server =
            new ServerArgs(false, true, null, keystore, settings.build(), config, Path.of(arguments[1]));
        OutputStreamStreamOutput out = new OutputStreamStreamOutput(System.out);
        server.writeTo(out);
        out.flush();
    }
}
